// SPDX-License-Identifier: Apache-2.0
#include "transport/passed_socket.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include "base/descriptors.hpp"

namespace migrate::transport {
namespace {

constexpr int kFirstPassed = 3;  // SD_LISTEN_FDS_START

std::string variable(const char* name) {
    const char* const value = std::getenv(name);
    return value == nullptr ? "" : value;
}

std::optional<int> socket_option(int fd, int name) {
    int value = 0;
    socklen_t size = sizeof value;
    if (::getsockopt(fd, SOL_SOCKET, name, &value, &size) != 0) return std::nullopt;
    return value;
}

Error refuse(std::string_view why) {
    return make_error(ErrorKind::kUsage, "--listen systemd: {}", why);
}

}  // namespace

Result<UniqueFd> take_passed_socket() {
    if (variable("LISTEN_PID") != std::to_string(::getpid())) {
        return refuse(
            "no service manager passed a socket to this process (LISTEN_PID): start it from a "
            ".socket unit with Accept=no, or give HOST:PORT");
    }
    const std::string count = variable("LISTEN_FDS");
    if (count != "1") {
        return refuse(fmt::format(
            "LISTEN_FDS is '{}': the .socket unit needs one ListenStream=, not more", count));
    }
    if (!check_inherited(kFirstPassed)) return refuse("descriptor 3 is not open");
    const auto family = socket_option(kFirstPassed, SO_DOMAIN);
    if ((family != AF_INET && family != AF_INET6) ||
        socket_option(kFirstPassed, SO_TYPE) != SOCK_STREAM) {
        return refuse("descriptor 3 is not a TCP socket: ListenStream= needs a port");
    }
    if (socket_option(kFirstPassed, SO_ACCEPTCONN) != 1) {
        return refuse("descriptor 3 does not listen: the .socket unit needs Accept=no");
    }
    static bool taken = false;
    if (std::exchange(taken, true)) return refuse("the socket that was passed is in use already");
    return UniqueFd(kFirstPassed);
}

}  // namespace migrate::transport
