// SPDX-License-Identifier: Apache-2.0
// Helpers around the system calls of a socket.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "base/error.hpp"

namespace migrate::transport {

inline msghdr message_of(std::span<const iovec> parts) {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts.data());
    message.msg_iovlen = parts.size();
    return message;
}

// Calls again after a signal.
template <typename Call>
ssize_t uninterrupted(Call call) {
    ssize_t moved = -1;
    do {
        moved = call();
    } while (moved < 0 && errno == EINTR);
    return moved;
}

// `moved` is the result of a system call, and errno its error. Returns the bytes that were moved,
// nothing if the call timed out or would wait; kLostConnection otherwise.
inline Result<std::optional<std::size_t>> result_of(ssize_t moved, std::string_view what) {
    if (moved >= 0) return std::optional(static_cast<std::size_t>(moved));
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::optional<std::size_t>();
    return Error::system(what, errno).as(ErrorKind::kLostConnection);
}

// The same for a call that sends memory.
inline Result<std::optional<std::size_t>> result_of_send(ssize_t moved) {
    if (moved < 0 && errno == EFAULT) return Error::system("read the guest memory to send", errno);
    return result_of(moved, "send to the peer");
}

}  // namespace migrate::transport
