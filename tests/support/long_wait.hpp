// How long a test waits for what comes, however busy the machine is.
#pragma once

#include <chrono>

namespace migrate {

inline constexpr std::chrono::milliseconds kLong{60'000};

}  // namespace migrate
