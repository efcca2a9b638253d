// SPDX-License-Identifier: Apache-2.0
// The pages of a broken round that the receiver has, gathered from its ROUND_ARRIVED frames.
// Invariant: no more memory is used than the migration's regions need, whatever the receiver sends.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/units.hpp"
#include "memory/page_bitmap.hpp"

namespace migrate::engine {

class ArrivedBitmaps {
  public:
    // `regions` outlives the object.
    static Result<ArrivedBitmaps> create(std::span<const RegionInfo> regions);

    // Takes a frame's body. kProtocol if it is of another round, or if a page came before.
    Status add(std::uint32_t round, std::string_view body);
    // One for each region.
    std::span<const memory::PageBitmap> bitmaps() const { return bitmaps_; }
    std::uint64_t pages() const { return pages_; }

  private:
    explicit ArrivedBitmaps(std::span<const RegionInfo> regions) : regions_(regions) {}

    std::span<const RegionInfo> regions_;
    std::vector<memory::PageBitmap> bitmaps_;
    std::uint64_t pages_ = 0;
};

}  // namespace migrate::engine
