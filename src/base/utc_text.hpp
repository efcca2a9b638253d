// SPDX-License-Identifier: Apache-2.0
// Wall-clock times as text.
#pragma once

#include <chrono>
#include <string>

namespace migrate {

// The time in UTC by RFC 3339, with milliseconds: "2026-11-30T06:49:40.123Z".
std::string utc_text(std::chrono::system_clock::time_point time);

}  // namespace migrate
