// SPDX-License-Identifier: Apache-2.0
// Hands a round's pages out to the workers: one atomic cursor over all regions. Invariant: every
// page is claimed exactly once; claims are aligned to huge pages and never cross a region.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/units.hpp"

namespace migrate::engine {

struct WorkSpan {
    RegionId region{};
    PageRange pages;
};

// Guided scheduling: a claim is a fraction of what is left, at most 64 MiB, at least one huge page,
// so that runs stay long while there is much to do and all workers end together.
class WorkCursor {
  public:
    // kRests: some pages have arrived already, and the others may lie together, in what lost
    // channels had claimed. Claims are then at most 4 MiB, so that all workers get a part.
    enum class Work : std::uint8_t { kWhole, kRests };
    WorkCursor(std::span<const RegionInfo> regions, unsigned workers, Work work = Work::kWhole);
    // Hands out only the regions for which `wanted` is true; one entry for each region.
    WorkCursor(std::span<const RegionInfo> regions, unsigned workers,
               const std::vector<bool>& wanted, Work work = Work::kWhole);

    // The next span, or nothing when all are taken. Any thread.
    std::optional<WorkSpan> claim();

  private:
    struct Part {
        std::uint64_t first_unit = 0;  // in units of huge pages, over all regions
        std::uint64_t units = 0;
        std::uint64_t pages = 0;
    };

    std::vector<Part> parts_;
    std::uint64_t total_units_ = 0;
    std::uint64_t divisor_;
    std::uint64_t most_units_;  // of a claim
    std::atomic<std::uint64_t> next_unit_{0};
};

}  // namespace migrate::engine
