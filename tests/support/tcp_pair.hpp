// SPDX-License-Identifier: Apache-2.0
// Two connected ends of a TCP connection on loopback.
#pragma once

#include <sys/socket.h>

#include "base/fd.hpp"
#include "catch.hpp"
#include "tests/support/loopback.hpp"
#include "tests/support/must.hpp"
#include "transport/socket.hpp"

namespace migrate::transport {

struct TcpPair {
    UniqueFd near;
    UniqueFd far;
};

inline TcpPair make_tcp_pair() {
    const UniqueFd listener = loopback_socket(0, true);
    TcpPair pair;
    pair.near = loopback_socket(port_of(listener.get()), false);
    pair.far = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(pair.far);
    return pair;
}

struct SocketPair {
    Socket near;
    Socket far;
};

inline Socket adopt(UniqueFd fd, std::chrono::milliseconds limit = std::chrono::seconds(30)) {
    return must(Socket::adopt(std::move(fd), StallLimits::both(limit)));
}

inline SocketPair make_socket_pair(std::uint64_t io_timeout_ms = 30'000) {
    TcpPair pair = make_tcp_pair();
    const std::chrono::milliseconds limit(io_timeout_ms);
    return {adopt(std::move(pair.near), limit), adopt(std::move(pair.far), limit)};
}

}  // namespace migrate::transport
