// A descriptor that goes to another process beside bytes on a unix socket (SCM_RIGHTS, unix(7)).
// System calls only, no allocation: may be used in the child of a fork.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>

namespace migrate {

// As ::send() with these flags and MSG_NOSIGNAL. `fd` goes with the first byte, and stays the
// caller's; -1: none goes.
ssize_t send_with_fd(int socket, std::span<const std::byte> bytes, int fd, int flags);

}  // namespace migrate
