// SPDX-License-Identifier: Apache-2.0
// Sends a descriptor together with bytes to another process on a unix socket (SCM_RIGHTS, unix(7)).
// Uses system calls only, no allocation: may be used in the child of a fork.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>

namespace migrate {

// Like ::send() with these flags and MSG_NOSIGNAL. `fd` is sent with the first byte and still
// belongs to the caller; -1: no descriptor is sent.
ssize_t send_with_fd(int socket, std::span<const std::byte> bytes, int fd, int flags);

}  // namespace migrate
