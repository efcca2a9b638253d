#include "engine/convergence/downtime_model.hpp"

#include <algorithm>

namespace migrate::engine {
namespace {

// Number of rounds that the expectation is based on: older rounds say little about the next one.
constexpr std::size_t kRecentRounds = 4;
// Bytes. Smaller rounds measure their own overhead instead of the channels.
constexpr std::uint64_t kBandwidthSample = kMiB;
// Bytes from which on a round measures the channels well.
constexpr std::uint64_t kGoodSample = 16 * kMiB;
// Number of rounds whose collections of dirty pages count.
constexpr std::size_t kRecentCollections = 2;
// Pausing the guest takes one page's write, and the guest's threads need a CPU to see it.
constexpr Microseconds kPauseCost{1000};
// Upper bound of an expected time: beyond an hour the exact time makes no difference.
constexpr double kLongestSeconds = 3600;

Microseconds micros(double seconds) {
    return Microseconds(static_cast<std::int64_t>(std::min(seconds, kLongestSeconds) * 1e6));
}

double in_seconds(Microseconds time) { return static_cast<double>(time.count()) / 1e6; }

// Uses a double, so that no number of pages overflows to a few bytes.
double bytes_of(double pages) { return pages * static_cast<double>(kPageSize); }

}  // namespace

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

double DowntimeModel::Sample::rate() const {
    return moving.count() > 0 ? static_cast<double>(figures.bytes) / in_seconds(moving) : 0;
}

void DowntimeModel::add(const RoundFigures& figures, Microseconds round_trip) {
    if (recent_.size() == kRecentRounds) {
        if (recent_.front().figures.bytes >= kBandwidthSample) carried_ = recent_.front();
        recent_.erase(recent_.begin());
    }
    // If the round trip is about as long as the round, the difference says nothing about the
    // channels.
    const Microseconds time = figures.moving_time();
    recent_.push_back({figures, std::max(time - round_trip, time / 8)});
}

// The first round fills fresh memory and looks at every page, so it says less than a later one.
const DowntimeModel::Sample* DowntimeModel::rate_sample() const {
    const Sample* found = nullptr;
    for (const Sample& sample : recent_) {
        if (sample.figures.bytes >= kGoodSample || found == nullptr ||
            sample.figures.bytes > found->figures.bytes) {
            found = &sample;
        }
    }
    const bool small = found == nullptr || found->figures.bytes < kBandwidthSample;
    return small && carried_ ? &*carried_ : found;
}

double DowntimeModel::bandwidth(const Tunables& tunables) const {
    if (tunables.avail_switchover_bandwidth != 0) {
        return static_cast<double>(tunables.avail_switchover_bandwidth);
    }
    const Sample* sample = rate_sample();
    return sample != nullptr ? sample->rate() : 0;
}

// Rounds take time beyond their bytes (threads that wake up, short queues, a link that has become
// slower). That time shows in all recent rounds and grows at most with their size, so the smallest
// one counts.
double DowntimeModel::transfer_seconds(double bytes) const {
    const Sample* sample = rate_sample();
    const double rate = sample != nullptr ? sample->rate() : 0;
    if (rate <= 0) return kLongestSeconds;
    double overhead = kLongestSeconds;
    // A round that moved as many bytes or more is an upper bound by itself: the rate of the first
    // round may be the rate of the zero page search.
    double bound = kLongestSeconds;
    for (const Sample& recent : recent_) {
        const auto moved = static_cast<double>(recent.figures.bytes);
        const double scale = moved > 0 ? std::max(1.0, bytes / moved) : kLongestSeconds;
        const double beyond = std::max(0.0, in_seconds(recent.moving) - moved / rate);
        overhead = std::min(overhead, beyond * scale);
        if (moved > 0) bound = std::min(bound, in_seconds(recent.moving) * scale);
    }
    return std::min(bytes / rate + overhead, bound);
}

Expectation DowntimeModel::expect(std::uint64_t dirty_pages, const Tunables& tunables,
                                  const FixedCosts& costs) const {
    Expectation expected{.pause = kPauseCost, .load = costs.load, .digest = costs.digest};
    expected.round_trips = micros(costs.round_trips * in_seconds(costs.round_trip));
    // Bytes on the wire per byte of content, below 1 with compression. Every dirty page may have
    // content.
    double weight = 1;
    for (std::size_t i = 0; i < recent_.size(); ++i) {
        const RoundFigures& round = recent_[i].figures;
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
    const double late = recent_.empty() ? 0
                                        : recent_.back().figures.dirty_pages_per_second() *
                                              in_seconds(expected.collect);
    const double bytes = bytes_of(static_cast<double>(dirty_pages) + late) * weight;
    if (bytes <= 0) return expected;
    expected.transfer =
        tunables.avail_switchover_bandwidth != 0
            ? micros(bytes / static_cast<double>(tunables.avail_switchover_bandwidth))
            : micros(transfer_seconds(bytes));
    return expected;
}

}  // namespace migrate::engine
