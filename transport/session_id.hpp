// SPDX-License-Identifier: Apache-2.0
// The id of a session, which the receiver chooses and every data connection shows.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace migrate::transport {

using SessionId = std::array<std::byte, 16>;

// Returns random bytes from the kernel.
Result<SessionId> make_session_id();
// Two lower-case hex digits for each byte.
std::string to_hex(std::span<const std::byte> bytes);
// Reads as many bytes as there is room for; `key` is the text's name. Fails with kProtocol.
Status from_hex(std::string_view hex, std::string_view key, std::span<std::byte> bytes);
// Fails with kProtocol.
Result<SessionId> session_from_hex(std::string_view hex);

}  // namespace migrate::transport
