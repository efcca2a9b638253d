// SPDX-License-Identifier: Apache-2.0
#include "engine/convergence/round_pacing.hpp"

#include <algorithm>

namespace migrate::engine {

Microseconds RoundPacing::wait_after(const RoundFigures& figures, const Decision& decision) {
    if (decision.next_round_helps) return {};
    const bool may_change = decision.obstacle == Obstacle::kDirtyRate ||
                            decision.obstacle == Obstacle::kAcknowledgement;
    const Microseconds longest = may_change ? kLongestInterval : kLongestFixedInterval;
    interval_ = std::min(std::max(2 * interval_, kFirstInterval), longest);
    // The next round's time is assumed to shrink in proportion to its pages.
    const double share =
        std::min(1.0, static_cast<double>(figures.dirty_pages) /
                          static_cast<double>(std::max<std::uint64_t>(figures.pages, 1)));
    const Microseconds cost =
        figures.collect_time + Microseconds(static_cast<std::int64_t>(
                                   static_cast<double>(figures.moving_time().count()) * share));
    const Microseconds left = std::max(interval_ - cost, Microseconds(0));
    return may_change ? left : std::max(left, std::min(cost, longest));
}

}  // namespace migrate::engine
