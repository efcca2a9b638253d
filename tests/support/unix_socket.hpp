// SPDX-License-Identifier: Apache-2.0
// Unix sockets of which a test has one end or both.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.hpp"
#include "catch.hpp"

namespace migrate {

// Two connected sockets.
inline std::pair<UniqueFd, UniqueFd> unix_socket_pair(int type = SOCK_STREAM) {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()) == 0);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

inline sockaddr_un unix_socket_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof address.sun_path);
    path.copy(address.sun_path, path.size());
    return address;
}

// A socket that is bound to the path and does not listen yet.
inline UniqueFd bound_unix_socket(const std::string& path, int type = SOCK_STREAM) {
    const sockaddr_un address = unix_socket_address(path);
    UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    return fd;
}

inline UniqueFd listening_unix_socket(const std::string& path, int backlog) {
    UniqueFd fd = bound_unix_socket(path);
    REQUIRE(::listen(fd.get(), backlog) == 0);
    return fd;
}

// Returns an empty descriptor if nobody accepts. `flags` of socket(): SOCK_NONBLOCK to not wait for
// room in the queue of newcomers.
inline UniqueFd connect_unix_socket(const std::string& path, int flags = 0) {
    const sockaddr_un address = unix_socket_address(path);
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
    REQUIRE(fd);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        fd.reset();
    }
    return fd;
}

// Connects until the queue of newcomers is full. It stays so while the result lives.
inline std::vector<UniqueFd> fill_unix_queue(const std::string& path) {
    std::vector<UniqueFd> waiting;
    while (UniqueFd fd = connect_unix_socket(path, SOCK_NONBLOCK)) waiting.push_back(std::move(fd));
    return waiting;
}

}  // namespace migrate
