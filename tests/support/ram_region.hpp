// SPDX-License-Identifier: Apache-2.0
// The first region of a guest, and the only one in most tests.
#pragma once

#include "base/units.hpp"

namespace migrate {

inline constexpr RegionId kRam{0};

}  // namespace migrate
