// SPDX-License-Identifier: Apache-2.0
// Converts asio's sockets, which connect and accept, to the blocking ones that migrate. Includes
// asio, so include it only in .cpp files that use asio.
#pragma once

#include <fcntl.h>

#include <asio.hpp>
#include <cerrno>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::transport {

// asio 1.22 creates and accepts sockets without FD_CLOEXEC.
inline void keep_from_children(int fd) { static_cast<void>(::fcntl(fd, F_SETFD, FD_CLOEXEC)); }

// Undoes what asio does to each descriptor that it watches.
inline Status make_blocking(int fd) {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0) {
        return Error::system("make a socket blocking", errno);
    }
    return {};
}

// Takes the connection out of `socket`. asio left it non-blocking; the returned descriptor blocks.
inline Result<UniqueFd> release_blocking(asio::ip::tcp::socket& socket) {
    asio::error_code error;
    UniqueFd fd(socket.release(error));
    if (error) return make_error("cannot take over a connection: {}", error.message());
    MIGRATE_TRY(make_blocking(fd.get()));
    keep_from_children(fd.get());
    return fd;
}

}  // namespace migrate::transport
