// SPDX-License-Identifier: Apache-2.0
#include "engine/convergence/downtime_model.hpp"

#include <algorithm>

namespace migrate::engine {
namespace {

// Number of rounds that the expectation is based on: older rounds say little about the next one.
constexpr std::size_t kRecentRounds = 4;
// Bytes from which on a round, and the tail of one, measures the channels well.
constexpr std::uint64_t kGoodRound = 16 * kMiB;
constexpr std::uint64_t kGoodTail = kMiB;
// A tail is believed to say how long up to this many times its bytes take: a path may carry a short
// burst faster than a long one.
constexpr double kTailReach = 16;
// Number of rounds whose collections of dirty pages count.
constexpr std::size_t kRecentCollections = 2;
// Pausing the guest takes one page's write, and the guest's threads need a CPU to see it.
constexpr Microseconds kPauseCost{1000};

Microseconds micros(double seconds) {
    return Microseconds(
        static_cast<std::int64_t>(std::min(seconds, TransferModel::kLongestSeconds) * 1e6));
}

double in_seconds(Microseconds time) { return static_cast<double>(time.count()) / 1e6; }

// Uses a double, so that no number of pages overflows to a few bytes.
double bytes_of(double pages) { return pages * static_cast<double>(kPageSize); }

}  // namespace

double RoundFigures::planned_bytes() const {
    const auto sent = static_cast<double>(bytes);
    const double each = normal_pages != 0 ? std::min(sent / static_cast<double>(normal_pages),
                                                     static_cast<double>(kPageSize))
                                          : static_cast<double>(kPageSize);
    return sent + each * static_cast<double>(postponed_pages);
}

double RoundFigures::bytes_per_second() const {
    const Microseconds time = moving_time();
    return time.count() > 0 ? static_cast<double>(bytes) / in_seconds(time) : 0;
}

double RoundFigures::dirty_pages_per_second() const {
    // The guest keeps writing while its dirty pages are collected.
    const Microseconds time = duration + collect_time;
    return time.count() > 0 ? static_cast<double>(dirty_pages) / in_seconds(time) : 0;
}

Microseconds Expectation::needed_limit() const { return total() + (total() - round_trips) / 4; }

DowntimeModel::DowntimeModel() : rounds_(kGoodRound), tails_(kGoodTail) {}

void DowntimeModel::add(const RoundFigures& figures, Microseconds round_trip) {
    if (recent_.size() == kRecentRounds) recent_.erase(recent_.begin());
    recent_.push_back(figures);
    rounds_.add(figures.bytes, figures.moving_time(), round_trip);
    if (figures.tail_bytes != 0) tails_.add(figures.tail_bytes, figures.tail_time, round_trip);
}

double DowntimeModel::bandwidth(const Tunables& tunables) const {
    if (tunables.avail_switchover_bandwidth != 0) {
        return static_cast<double>(tunables.avail_switchover_bandwidth);
    }
    const double limited = rounds_.rate();
    return tunables.max_bandwidth != 0 ? std::max(limited, tails_.cautious_rate()) : limited;
}

double DowntimeModel::transfer_seconds(double bytes, const Tunables& tunables) const {
    if (tunables.avail_switchover_bandwidth != 0) {
        return bytes / static_cast<double>(tunables.avail_switchover_bandwidth);
    }
    const double limited = rounds_.seconds(bytes);
    return tunables.max_bandwidth != 0 ? std::min(limited, tail_seconds(bytes)) : limited;
}

// The time of bytes that are sent without max-bandwidth. What exceeds the reach of the tails is
// expected to take the time that it takes under the limit. A tail is short, so that one may be fast
// by chance: the slower one of the last two counts.
double DowntimeModel::tail_seconds(double bytes) const {
    const double rate = tails_.cautious_rate();
    if (rate <= 0) return TransferModel::kLongestSeconds;
    const double within =
        std::min(bytes, kTailReach * static_cast<double>(tails_.measured_bytes()));
    const double beyond = bytes - within;
    return std::max(tails_.seconds(within), within / rate) +
           (beyond > 0 ? beyond / std::max(rounds_.rate(), 1.0) : 0);
}

Expectation DowntimeModel::expect(std::uint64_t dirty_pages, const Tunables& tunables,
                                  const FixedCosts& costs) const {
    Expectation expected{.pause = kPauseCost, .load = costs.load, .digest = costs.digest};
    expected.round_trips = micros(costs.round_trips * in_seconds(costs.round_trip));
    // Bytes on the wire per byte of content, below 1 with compression. Every dirty page may have
    // content.
    double weight = 1;
    for (std::size_t i = 0; i < recent_.size(); ++i) {
        const RoundFigures& round = recent_[i];
        // The longer of the last collections counts: waiting for a short one would rely on luck in
        // the last round. That of the first round finds far more pages than the last one will.
        if (recent_.size() - i <= kRecentCollections) {
            expected.collect = std::max(expected.collect, round.collect_time);
        }
        if (round.normal_pages == 0) continue;
        weight = std::min(1.0, static_cast<double>(round.bytes) /
                                   bytes_of(static_cast<double>(round.normal_pages)));
    }
    // Pages written during a long collection are sent in the last round, too.
    const double late =
        recent_.empty() ? 0
                        : recent_.back().dirty_pages_per_second() * in_seconds(expected.collect);
    const double bytes = bytes_of(static_cast<double>(dirty_pages) + late) * weight;
    if (bytes <= 0) return expected;
    expected.transfer = micros(transfer_seconds(bytes, tunables));
    return expected;
}

}  // namespace migrate::engine
