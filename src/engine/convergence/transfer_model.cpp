// SPDX-License-Identifier: Apache-2.0
#include "engine/convergence/transfer_model.hpp"

#include <algorithm>

namespace migrate::engine {
namespace {

// Number of transfers that the expectation is based on: older ones say little about the next one.
constexpr std::size_t kRecent = 4;
// Bytes. Smaller transfers measure their own overhead instead of the channels.
constexpr std::uint64_t kLeastSample = kMiB;

double in_seconds(Microseconds time) { return static_cast<double>(time.count()) / 1e6; }

}  // namespace

double TransferModel::Sample::rate() const {
    return time.count() > 0 ? static_cast<double>(bytes) / in_seconds(time) : 0;
}

void TransferModel::add(std::uint64_t bytes, Microseconds time, Microseconds round_trip) {
    if (recent_.size() == kRecent) {
        if (recent_.front().bytes >= kLeastSample) carried_ = recent_.front();
        recent_.erase(recent_.begin());
    }
    // If the round trip is about as long as the transfer, the difference says nothing about the
    // channels.
    recent_.push_back({bytes, std::max(time - round_trip, time / 8)});
}

// The first round fills fresh memory and looks at every page, so it says less than a later one.
const TransferModel::Sample* TransferModel::rate_sample() const {
    const Sample* found = nullptr;
    for (const Sample& sample : recent_) {
        if (sample.bytes >= good_sample_ || found == nullptr || sample.bytes > found->bytes) {
            found = &sample;
        }
    }
    const bool small = found == nullptr || found->bytes < kLeastSample;
    return small && carried_ ? &*carried_ : found;
}

double TransferModel::rate() const {
    const Sample* sample = rate_sample();
    return sample != nullptr ? sample->rate() : 0;
}

double TransferModel::cautious_rate() const {
    double slowest = rate();
    int good = 0;
    for (auto sample = recent_.rbegin(); sample != recent_.rend() && good < 2; ++sample) {
        if (sample->bytes < good_sample_) continue;
        ++good;
        slowest = std::min(slowest, sample->rate());
    }
    return slowest;
}

std::uint64_t TransferModel::measured_bytes() const {
    const Sample* sample = rate_sample();
    return sample != nullptr ? sample->bytes : 0;
}

// Transfers take time beyond their bytes (threads that wake up, short queues, a link that has
// become slower). That time shows in all recent ones and grows at most with their size, so the
// smallest one counts.
double TransferModel::seconds(double bytes) const {
    const double known = rate();
    if (known <= 0) return kLongestSeconds;
    double overhead = kLongestSeconds;
    // A transfer that moved as many bytes or more is an upper bound by itself: the rate of the
    // first round may be the rate of the zero page search.
    double bound = kLongestSeconds;
    for (const Sample& recent : recent_) {
        const auto moved = static_cast<double>(recent.bytes);
        const double scale = moved > 0 ? std::max(1.0, bytes / moved) : kLongestSeconds;
        const double beyond = std::max(0.0, in_seconds(recent.time) - moved / known);
        overhead = std::min(overhead, beyond * scale);
        if (moved > 0) bound = std::min(bound, in_seconds(recent.time) * scale);
    }
    return std::min(bytes / known + overhead, bound);
}

}  // namespace migrate::engine
