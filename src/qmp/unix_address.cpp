// SPDX-License-Identifier: Apache-2.0
#include "qmp/unix_address.hpp"

#include <sys/socket.h>

#include <cstring>

namespace migrate::qmp {
namespace {

constexpr std::string_view kScheme = "unix:";

}  // namespace

Result<sockaddr_un> parse_unix_address(std::string_view text) {
    const bool is_unix = text.substr(0, kScheme.size()) == kScheme;
    const std::string_view path = is_unix ? text.substr(kScheme.size()) : std::string_view{};
    if (path.empty() || path.find('\0') != std::string_view::npos) {
        return make_error(ErrorKind::kUsage,
                          "'{}' is no QMP address; write unix:PATH, e.g. unix:/run/migrate.qmp",
                          text);
    }
    if (const auto comma = path.find(','); comma != std::string_view::npos) {
        return make_error(
            ErrorKind::kUsage,
            "a QMP address takes no options: write unix:{} without '{}' (who serves is known, "
            "and a server never waits for its client)",
            path.substr(0, comma), path.substr(comma));
    }
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        return make_error(ErrorKind::kUsage,
                          "the path '{}' has {} bytes; a unix socket's may have {} at most", path,
                          path.size(), sizeof address.sun_path - 1);
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

}  // namespace migrate::qmp
