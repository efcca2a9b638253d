// SPDX-License-Identifier: Apache-2.0
#include "engine/send/channel_tuner.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.hpp"

namespace migrate::engine {
namespace {

using std::chrono::milliseconds;

// An addition has to raise the throughput by more than a tenth.
constexpr double kWorthwhile = 1.1;
// A smaller idle share of the CPUs means that another thread takes its time from the others.
constexpr double kLeastIdle = 0.1;
// Threads that want less of a CPU than this mostly wait for the network, and more of them take
// nothing from each other.
constexpr double kHungry = 0.5;
// Share of max-bandwidth from which on it counts as reached: the pacer's grain is 50 ms.
constexpr double kReached = 0.9;
constexpr milliseconds kLongest{2000};
// TCP's slow start doubles the rate in each round trip, so that five of them make it 32-fold.
constexpr int kRoundTrips = 5;
// Intervals for which a rate that rises by itself is waited for, at most.
constexpr unsigned kMostRising = 8;

constexpr double kMiBDouble = static_cast<double>(kMiB);

}  // namespace

ChannelTuner::ChannelTuner(std::uint16_t first, std::uint16_t most,
                           std::chrono::microseconds round_trip, const ChannelTuning& tuning)
    : channels_(first),
      most_(most),
      always_(tuning.always),
      interval_(std::clamp(std::chrono::ceil<milliseconds>(round_trip * kRoundTrips),
                           tuning.shortest_interval, kLongest)) {}

void ChannelTuner::begin(const ChannelProgress& now) {
    start_ = now;
    last_.reset();
    rising_ = 0;
}

void ChannelTuner::stop(ChannelLimit limit, std::string reason) {
    final_ = true;
    limit_ = limit;
    reason_ = std::move(reason);
}

// A limit that may end: looks again, less and less often.
void ChannelTuner::wait(ChannelLimit limit, std::string reason) {
    limit_ = limit;
    reason_ = std::move(reason);
    interval_ = std::min(2 * interval_, kLongest);
}

// Memory may turn from pages with content to zeros or back. One of the two rates falls then and the
// other one rises, and the channels are not judged by that.
bool ChannelTuner::grew(const Rate& from, const Rate& to) {
    return to.bytes > from.bytes * kWorthwhile || to.pages > from.pages * kWorthwhile;
}

std::uint16_t ChannelTuner::judge(const ChannelProgress& now, const ChannelHost& host) {
    if (always_) return more();
    const std::chrono::duration<double> passed = now.at - start_.at;
    if (passed.count() <= 0) return channels_;
    // The sums may shrink a little: their parts are read one after the other.
    const auto per_second = [&](std::uint64_t from, std::uint64_t to) {
        return to > from ? static_cast<double>(to - from) / passed.count() : 0;
    };
    const Rate rate{per_second(start_.bytes, now.bytes), per_second(start_.pages, now.pages)};
    start_ = now;
    const bool rises = !last_ || grew(*last_, rate);
    last_ = rate;
    if (rises && ++rising_ < kMostRising) return channels_;
    return compare(rate, host);
}

// Twice the number, up to the largest.
std::uint16_t ChannelTuner::more() {
    if (channels_ >= most_) {
        stop(ChannelLimit::kMaximum, fmt::format("{} channels are the maximum", most_));
    }
    return static_cast<std::uint16_t>(std::min(2 * channels_, int{most_}));
}

// Judges a rate that does not rise by itself.
std::uint16_t ChannelTuner::compare(const Rate& rate, const ChannelHost& host) {
    if (before_ && !grew(*before_, rate)) {
        stop(ChannelLimit::kThroughput,
             fmt::format("{} channels sent {:.1f} MiB/s, {} sent {:.1f} MiB/s", channels_,
                         rate.bytes / kMiBDouble, fewer_, before_->bytes / kMiBDouble));
        return channels_;
    }
    if (channels_ >= most_) return more();
    const auto limit = static_cast<double>(host.max_bandwidth);
    if (limit > 0 && rate.bytes >= limit * kReached) {
        wait(ChannelLimit::kBandwidth, fmt::format("{} channels reach max-bandwidth", channels_));
        return channels_;
    }
    const double idle = host.cpus.idle_share.value_or(1);
    if (idle < kLeastIdle && host.cpus.wanted_cpus.value_or(channels_) >= kHungry * channels_) {
        wait(ChannelLimit::kCpu,
             fmt::format("the CPUs of the sender's host are {:.0f} % busy with {} channels",
                         100 * (1 - idle), channels_));
        return channels_;
    }
    // The best rate so far, so that one bad interval does not make the next addition look good.
    before_ = before_
                  ? Rate{std::max(rate.bytes, before_->bytes), std::max(rate.pages, before_->pages)}
                  : rate;
    fewer_ = channels_;
    return more();
}

}  // namespace migrate::engine
