// SPDX-License-Identifier: Apache-2.0
// Reads and writes the JSON bodies of control frames. Invariant: a value that was read is in range,
// and text of the peer is safe to print.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace migrate::transport {

using MessageJson = nlohmann::json;

// All functions fail with kProtocol. `what` names the message: "the offer".
Result<MessageJson> parse_object(std::string_view body, std::string_view what);
// Reads a whole number, min … max.
Result<std::uint64_t> read_number(const MessageJson& json, const char* key, std::uint64_t min,
                                  std::uint64_t max);
// The keys of a side's timeouts.
inline constexpr const char* kIoTimeoutKey = "io-timeout";
inline constexpr const char* kReconnectTimeoutKey = "reconnect-timeout";
// Reads a timeout, 1 ms … a day; nothing if the peer does not send it.
Result<std::optional<std::chrono::milliseconds>> read_timeout(const MessageJson& json,
                                                              const char* key);
void write_timeout(MessageJson& json, const char* key,
                   std::optional<std::chrono::milliseconds> timeout);

// Limits text to printable ASCII and to `limit` bytes: it ends up in logs and on terminals.
std::string printable(std::string text, std::size_t limit);
// Reads text as printable() returns it; empty if there is none.
std::string text_or_empty(const MessageJson& json, const char* key, std::size_t limit);

// Text that is not UTF-8, a path for example, is replaced.
std::string dump(const MessageJson& json);

}  // namespace migrate::transport
