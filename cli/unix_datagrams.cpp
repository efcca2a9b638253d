// SPDX-License-Identifier: Apache-2.0
#include "cli/unix_datagrams.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

namespace migrate::cli {

Result<UnixDatagrams> UnixDatagrams::connect(std::string_view name, std::string_view peer) {
    const std::string what = fmt::format("connect to {}", peer);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (name.size() >= sizeof address.sun_path) return Error::system(what, ENAMETOOLONG);
    std::memcpy(address.sun_path, name.data(), name.size());
    if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket ||
        ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
        return Error::system(what, errno);
    }
    return UnixDatagrams(std::move(socket));
}

void UnixDatagrams::send(const std::string& message) const {
    if (!socket_) return;
    static_cast<void>(
        ::send(socket_.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
}

}  // namespace migrate::cli
