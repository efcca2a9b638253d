// SPDX-License-Identifier: Apache-2.0
// The clock for the run time, pauses and waits of guests.
#pragma once

#include <chrono>

namespace migrate::guest {

using Clock = std::chrono::steady_clock;

}  // namespace migrate::guest
