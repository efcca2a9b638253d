// SPDX-License-Identifier: Apache-2.0
// The pages of a broken round that are in place, on their way from the receiver to the sender: the
// bodies of ROUND_ARRIVED. A body is a packet without payload: a header and a run list whose pages
// of zeros have arrived. Invariant: decoded pages lie within a region of the migration.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/units.hpp"
#include "transport/wire.hpp"

namespace migrate::transport {

// Makes the bodies. Ranges come in ascending order of region and page, and do not overlap.
class ArrivedEncoder {
  public:
    explicit ArrivedEncoder(std::uint32_t round) : round_(round) {}

    // Adds pages. Returns the body that is full because of that; empty if none is.
    std::string add(RegionId region, PageRange pages);
    // Returns the last body; empty if there is none.
    std::string finish();
    // Number of pages added so far.
    std::uint64_t pages() const { return pages_; }

  private:
    std::uint32_t round_;
    std::uint32_t sequence_ = 0;
    RegionId region_{};
    RunListEncoder runs_;
    std::uint64_t pages_ = 0;
};

struct ArrivedPages {
    RegionId region{};
    std::uint32_t round = 0;
    std::vector<PageRange> pages;  // in ascending order
};
// Fails with kProtocol.
Result<ArrivedPages> decode_arrived(std::string_view body, std::span<const RegionInfo> regions);

}  // namespace migrate::transport
