// SPDX-License-Identifier: Apache-2.0
#include "engine/convergence/extra_rounds.hpp"

#include <algorithm>

namespace migrate::engine {
namespace {

// A round that leaves more than half of its pages dirty does not converge fast enough: the guest
// writes the same pages again and again, or nearly as fast as the channels send.
constexpr std::uint64_t kShrink = 2;
// The least that a round must save of the pause. Below that the time of a pause varies by itself.
constexpr Microseconds kLeastGain{500};
constexpr Microseconds::rep kLeastShare = 8;  // and the least share of the pause, an eighth
// The largest share of the migration's time that extra rounds may take, a tenth.
constexpr Microseconds::rep kLargestShare = 10;

// The next round's time, if it sends pages with content as fast as the last round did.
Microseconds next_duration(const RoundFigures& figures, const FixedCosts& costs) {
    // Dirty pages have content, so they take the time of pages with content.
    const double share = static_cast<double>(figures.dirty_pages) /
                         static_cast<double>(std::max<std::uint64_t>(figures.normal_pages, 1));
    const double sending = static_cast<double>(figures.moving_time().count()) * share;
    return std::max(Microseconds(static_cast<std::int64_t>(sending)), costs.round_trip) +
           figures.collect_time;
}

}  // namespace

bool ExtraRounds::pays(const RoundFigures& figures, const DowntimeModel& model,
                       const Tunables& tunables, const FixedCosts& costs) {
    if (over_ || figures.dirty_pages > figures.pages / kShrink) return false;
    const Microseconds time = next_duration(figures, costs);
    if (spent_ + time > figures.elapsed / kLargestShare) return false;
    const double left =
        figures.dirty_pages_per_second() * static_cast<double>(time.count()) / 1'000'000;
    if (left * kShrink > static_cast<double>(figures.dirty_pages)) return false;
    const Microseconds now = model.expect(figures.dirty_pages, tunables, costs).total();
    const Microseconds later =
        model.expect(static_cast<std::uint64_t>(left), tunables, costs).total();
    if (now - later < std::max(kLeastGain, now / kLeastShare)) return false;
    // The round and the switchover after it must end before the deadline.
    if (tunables.deadline.count() != 0 && figures.elapsed + 2 * time + later > tunables.deadline) {
        return false;
    }
    spent_ += time;
    put_off_ = true;
    return true;
}

void ExtraRounds::note_round(bool fits) {
    if (put_off_ && !fits) over_ = true;
    put_off_ = false;
}

}  // namespace migrate::engine
