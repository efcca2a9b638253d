// The clock by which guests run, pause and are waited for.
#pragma once

#include <chrono>

namespace migrate::guest {

using Clock = std::chrono::steady_clock;

}  // namespace migrate::guest
