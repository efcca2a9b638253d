// SPDX-License-Identifier: Apache-2.0
#include "transport/session_id.hpp"

#include <sys/random.h>

#include <cerrno>
#include <charconv>

#include "transport/protocol_error.hpp"

namespace migrate::transport {

Result<SessionId> make_session_id() {
    SessionId session{};
    if (::getrandom(session.data(), session.size(), 0) != static_cast<ssize_t>(session.size())) {
        return Error::system("get random bytes for the session id", errno);
    }
    return session;
}

std::string to_hex(std::span<const std::byte> bytes) {
    std::string hex;
    for (const std::byte byte : bytes)
        hex += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    return hex;
}

Status from_hex(std::string_view hex, std::string_view key, std::span<std::byte> bytes) {
    if (hex.size() != 2 * bytes.size() ||
        hex.find_first_not_of("0123456789abcdef") != std::string_view::npos) {
        return protocol_error(fmt::format("'{}' is not {} hex digits", key, 2 * bytes.size()));
    }
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        unsigned value = 0;
        std::from_chars(&hex[2 * i], &hex[2 * i] + 2, value, 16);
        bytes[i] = static_cast<std::byte>(value);
    }
    return {};
}

Result<SessionId> session_from_hex(std::string_view hex) {
    SessionId session{};
    MIGRATE_TRY(from_hex(hex, "session", session));
    return session;
}

}  // namespace migrate::transport
