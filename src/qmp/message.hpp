// SPDX-License-Identifier: Apache-2.0
// The forms of QMP messages (QEMU's docs/interop/qmp-spec), and how they are written.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace migrate::qmp {

// Keys keep their order, as in QEMU's answers.
using Json = nlohmann::ordered_json;

// Returns one line of ASCII, newline included. Never fails: bytes that are not UTF-8 become U+FFFD.
std::string to_line(const Json& message);

// Returns {"event": …, "data": …, "timestamp": …}, with the time of the call.
Json make_event(std::string_view event, const Json& data);

// The values of QapiErrorClass that are used here.
inline constexpr std::string_view kGenericError = "GenericError";
inline constexpr std::string_view kCommandNotFound = "CommandNotFound";

// {"error": {"class": …, "desc": …}}
Json make_error_answer(std::string_view error_class, std::string_view desc);

}  // namespace migrate::qmp
