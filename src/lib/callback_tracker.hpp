// SPDX-License-Identifier: Apache-2.0
// A dirty tracker that asks the VMM for the pages that its guest wrote.
#pragma once

#include <memory>
#include <span>

#include "base/units.hpp"
#include "lib/callback_guest.hpp"
#include "memory/dirty/dirty_tracker.hpp"

namespace migrate::lib {

// `regions` outlives the tracker. The callbacks have a dirty log.
std::unique_ptr<memory::DirtyTracker> make_callback_tracker(
    std::shared_ptr<const Callbacks> callbacks, std::span<const RegionInfo> regions);

}  // namespace migrate::lib
