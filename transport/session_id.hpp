// The id of a session, which the receiver chooses and every data connection shows.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace migrate::transport {

using SessionId = std::array<std::byte, 16>;

// Returns random bytes from the kernel.
Result<SessionId> make_session_id();
// 32 lower-case hex digits.
std::string to_hex(const SessionId& session);
// Fails with kProtocol.
Result<SessionId> session_from_hex(std::string_view hex);

}  // namespace migrate::transport
