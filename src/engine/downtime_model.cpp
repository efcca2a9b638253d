#include "engine/downtime_model.hpp"

#include <algorithm>

namespace migrate::engine {
namespace {

// Rounds that the expectation is taken from: what was long ago says little.
constexpr std::size_t kRecentRounds = 4;
// Smaller rounds measure their own overhead and not the channels.
constexpr std::uint64_t kBandwidthSample = kMiB;
// Pausing the guest takes one page's write, and its threads must get a CPU to see it.
constexpr Microseconds kPauseCost{1000};
// Beyond an hour it makes no difference how long.
constexpr double kLongestSeconds = 3600;

Microseconds micros(double seconds) {
    return Microseconds(static_cast<std::int64_t>(std::min(seconds, kLongestSeconds) * 1e6));
}

double in_seconds(Microseconds time) { return static_cast<double>(time.count()) / 1e6; }

// Not in integers: no number of pages wraps around to few bytes.
double bytes_of(double pages) { return pages * static_cast<double>(kPageSize); }

}  // namespace

double RoundFigures::bytes_per_second() const {
    return duration.count() > 0 ? static_cast<double>(bytes) / in_seconds(duration) : 0;
}

double RoundFigures::dirty_pages_per_second() const {
    // The guest writes on while it is asked what it wrote.
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
    // A round trip as long as the round says nothing of what remains.
    const Microseconds least = figures.duration / 8;
    recent_.push_back({figures, std::max(figures.duration - round_trip, least)});
}

// That which moved most, of the recent ones if they moved enough.
const DowntimeModel::Sample* DowntimeModel::largest() const {
    const Sample* found = nullptr;
    for (const Sample& sample : recent_) {
        if (found == nullptr || sample.figures.bytes > found->figures.bytes) found = &sample;
    }
    const bool small = found == nullptr || found->figures.bytes < kBandwidthSample;
    return small && carried_ ? &*carried_ : found;
}

double DowntimeModel::bandwidth(const Tunables& tunables) const {
    if (tunables.avail_switchover_bandwidth != 0) {
        return static_cast<double>(tunables.avail_switchover_bandwidth);
    }
    const Sample* sample = largest();
    return sample != nullptr ? sample->rate() : 0;
}

// What rounds take beyond their bytes (threads that wake up, short queues, a link that has become
// slower) is seen in all of the recent ones, and grows at most with their size.
double DowntimeModel::transfer_seconds(double bytes) const {
    const Sample* sample = largest();
    const double rate = sample != nullptr ? sample->rate() : 0;
    if (rate <= 0) return kLongestSeconds;
    double overhead = kLongestSeconds;
    // A round that moved as much, or more, is an upper bound by itself: the first one's rate may be
    // that of the search for zeros.
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
    // Compressed pages weigh less than they hold. Every dirty page may have content.
    double weight = 1;
    for (const Sample& recent : recent_) {
        const RoundFigures& round = recent.figures;
        // The longest: to go on until one happens to be short is to count on luck in the last.
        expected.collect = std::max(expected.collect, round.collect_time);
        if (round.normal_pages == 0) continue;
        weight = std::min(1.0, static_cast<double>(round.bytes) /
                                   bytes_of(static_cast<double>(round.normal_pages)));
    }
    // What was written behind the back of a collect that takes long goes in the last round, too.
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
