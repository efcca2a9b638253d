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

std::string to_hex(const SessionId& session) {
    std::string hex;
    for (const std::byte byte : session)
        hex += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    return hex;
}

Result<SessionId> session_from_hex(std::string_view hex) {
    SessionId session{};
    if (hex.size() != 2 * session.size() ||
        hex.find_first_not_of("0123456789abcdef") != std::string_view::npos) {
        return protocol_error("'session' is not 32 hex digits");
    }
    for (std::size_t i = 0; i < session.size(); ++i) {
        unsigned value = 0;
        std::from_chars(&hex[2 * i], &hex[2 * i] + 2, value, 16);
        session[i] = static_cast<std::byte>(value);
    }
    return session;
}

}  // namespace migrate::transport
