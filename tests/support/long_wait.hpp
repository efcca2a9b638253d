// SPDX-License-Identifier: Apache-2.0
// Timeout of a test for something that must happen, long enough for a busy machine.
#pragma once

#include <chrono>

namespace migrate {

inline constexpr std::chrono::milliseconds kLong{60'000};

}  // namespace migrate
