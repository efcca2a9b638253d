// Two connected ends of a TCP connection on loopback.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/fd.hpp"
#include "catch.hpp"
#include "tests/memory/must.hpp"
#include "transport/socket.hpp"

namespace migrate::transport {

struct TcpPair {
    UniqueFd near;
    UniqueFd far;
};

inline UniqueFd loopback_socket(std::uint16_t port, bool listening) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(fd);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    const auto* generic = reinterpret_cast<const sockaddr*>(&address);
    if (listening) {
        REQUIRE(::bind(fd.get(), generic, sizeof address) == 0);
        REQUIRE(::listen(fd.get(), 16) == 0);
    } else {
        REQUIRE(::connect(fd.get(), generic, sizeof address) == 0);
    }
    return fd;
}

inline std::uint16_t port_of(int fd) {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    return ntohs(address.sin_port);
}

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
