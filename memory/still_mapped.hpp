// Whether another process still has its memory where it had it when it was opened: a tracker that
// watches these addresses, and a copy made of these files, are worth nothing otherwise.
#pragma once

#include <span>

#include "base/error.hpp"
#include "base/units.hpp"
#include "memory/foreign_mapping.hpp"

namespace migrate::memory {

// An Error names the first of `regions`, of which the owner has one each, that the owner has
// unmapped, moved, or mapped once more for writing. Success if the owner is not known.
Status check_still_mapped(const MemoryOwner& owner, std::span<const RegionInfo> regions);

}  // namespace migrate::memory
