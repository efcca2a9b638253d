// SPDX-License-Identifier: Apache-2.0
#include "engine/send/work_cursor.hpp"

#include <algorithm>

namespace migrate::engine {
namespace {

constexpr std::uint64_t kMaxUnits = 64 * kMiB / kHugePageSize;
constexpr std::uint64_t kMaxUnitsOfRests = 4 * kMiB / kHugePageSize;

}  // namespace

WorkCursor::WorkCursor(std::span<const RegionInfo> regions, unsigned workers, Work work)
    : WorkCursor(regions, workers, std::vector<bool>(regions.size(), true), work) {}

WorkCursor::WorkCursor(std::span<const RegionInfo> regions, unsigned workers,
                       const std::vector<bool>& wanted, Work work)
    : divisor_(2 * std::uint64_t{std::max(workers, 1U)}),
      most_units_(work == Work::kWhole ? kMaxUnits : kMaxUnitsOfRests) {
    for (std::size_t i = 0; i < regions.size(); ++i) {
        const RegionInfo& region = regions[i];
        const std::uint64_t units =
            wanted[i] ? (region.pages() + kPagesPerHugePage - 1) / kPagesPerHugePage : 0;
        parts_.push_back({total_units_, units, region.pages()});
        total_units_ += units;
    }
}

std::optional<WorkSpan> WorkCursor::claim() {
    // Relaxed: the cursor orders nothing but itself; the pages were there before the workers
    // started.
    std::uint64_t unit = next_unit_.load(std::memory_order_relaxed);
    while (unit < total_units_) {
        const auto part = std::prev(std::upper_bound(
            parts_.begin(), parts_.end(), unit, [](std::uint64_t value, const Part& candidate) {
                return value < candidate.first_unit;
            }));
        const std::uint64_t within = unit - part->first_unit;
        const std::uint64_t share =
            std::clamp<std::uint64_t>((total_units_ - unit) / divisor_, 1, most_units_);
        const std::uint64_t units = std::min(share, part->units - within);
        if (!next_unit_.compare_exchange_weak(unit, unit + units, std::memory_order_relaxed))
            continue;
        const std::uint64_t first = within * kPagesPerHugePage;
        const std::uint64_t end = std::min((within + units) * kPagesPerHugePage, part->pages);
        return WorkSpan{RegionId{static_cast<std::uint16_t>(part - parts_.begin())},
                        {first, end - first}};
    }
    return std::nullopt;
}

}  // namespace migrate::engine
