// SPDX-License-Identifier: Apache-2.0
// Checks that another process still has its memory where it was when it was opened. Otherwise a
// tracker that watches these addresses, and a copy made of these files, are worthless.
#pragma once

#include <span>

#include "base/error.hpp"
#include "base/units.hpp"
#include "memory/foreign/foreign_mapping.hpp"

namespace migrate::memory {

// An Error names the first of `regions` that the owner has unmapped, moved, or mapped once more for
// writing; `owner` has one entry per region. Private memory must be private still, and of the same
// file if it was of one. Succeeds if the owner is not known.
Status check_still_mapped(const MemoryOwner& owner, std::span<const RegionInfo> regions);

}  // namespace migrate::memory
