// SPDX-License-Identifier: Apache-2.0
// Functions that the networks between two processes share: they pass a connection on to another
// port.
#pragma once

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstdint>

#include "base/fd.hpp"
#include "tests/support/loopback.hpp"

namespace migrate::e2e {

struct ForwardedConnection {
    UniqueFd client;
    UniqueFd server;  // empty if the client has gone or the port does not answer
};

// Accepts one connection and makes another one to `port`; neither blocks. Any thread may call it.
inline ForwardedConnection accept_and_connect(int listener, std::uint16_t port) {
    UniqueFd client(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    UniqueFd server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!client || !connect_to_loopback(server.get(), port)) return {};
    ::fcntl(server.get(), F_SETFL, O_NONBLOCK);
    const int one = 1;
    for (const int fd : {client.get(), server.get()}) {
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    return {std::move(client), std::move(server)};
}

}  // namespace migrate::e2e
