// SPDX-License-Identifier: Apache-2.0
// TCP sockets on this host's loopback.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>

#include "base/fd.hpp"
#include "catch.hpp"

namespace migrate {

inline sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

// Any thread may call it.
inline bool connect_to_loopback(int fd, std::uint16_t port) {
    const sockaddr_in address = loopback(port);
    return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

// A socket that listens on the port, of the kernel's choice if it is 0, or one that is connected to
// it. `flags` of socket(): SOCK_NONBLOCK.
inline UniqueFd loopback_socket(std::uint16_t port, bool listening, int flags = 0) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
    REQUIRE(fd);
    if (listening) {
        const sockaddr_in address = loopback(port);
        REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
        REQUIRE(::listen(fd.get(), 64) == 0);
    } else {
        REQUIRE(connect_to_loopback(fd.get(), port));
    }
    return fd;
}

inline std::uint16_t port_of(int fd) {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    return ntohs(address.sin_port);
}

}  // namespace migrate
