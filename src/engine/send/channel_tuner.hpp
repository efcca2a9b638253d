// SPDX-License-Identifier: Apache-2.0
// multifd-channels=auto: decides from the throughput of the rounds how many channels to use. It
// measures intervals within a round. Invariant: channels are added only after the throughput has
// stopped rising by itself, and again only if the last addition raised it by more than a tenth.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/cpu_load.hpp"
#include "engine/send/channel_limit.hpp"

namespace migrate::engine {

// Sums over all channels since the session began, of what has arrived.
struct ChannelProgress {
    std::chrono::steady_clock::time_point at;
    std::uint64_t bytes = 0;
    std::uint64_t pages = 0;  // of any kind
};

// The host during an interval.
struct ChannelHost {
    CpuUse cpus;
    std::uint64_t max_bandwidth = 0;  // bytes per second, 0: no limit
};

class ChannelTuner {
  public:
    // `first` channels are connected, and there may be `most`. The length of an interval follows
    // from the path's round-trip time, during which a new connection sends little.
    ChannelTuner(std::uint16_t first, std::uint16_t most, std::chrono::microseconds round_trip,
                 const ChannelTuning& tuning = {});

    std::chrono::milliseconds interval() const { return interval_; }
    // False once the number is final.
    bool goes_on() const { return !final_; }

    // An interval begins: a round began, or channels were added.
    void begin(const ChannelProgress& now);
    // An interval of a round ended, and the next one begins. Returns the number of channels to have
    // now: the present one, or a larger one. Called only while goes_on().
    std::uint16_t judge(const ChannelProgress& now, const ChannelHost& host);
    // `channels` are connected now. begin() follows.
    void added(std::uint16_t channels) { channels_ = channels; }
    // No channel is added any more.
    void stop(ChannelLimit limit, std::string reason);

    ChannelLimit limit() const { return limit_; }
    // The limit with its figures, for people.
    const std::string& reason() const { return reason_; }

  private:
    struct Rate {
        double bytes = 0;  // per second
        double pages = 0;
    };
    static bool grew(const Rate& from, const Rate& to);
    std::uint16_t compare(const Rate& rate, const ChannelHost& host);
    std::uint16_t more();
    void wait(ChannelLimit limit, std::string reason);

    std::uint16_t channels_;
    const std::uint16_t most_;
    const bool always_;
    std::chrono::milliseconds interval_;
    ChannelProgress start_;       // of the interval
    std::optional<Rate> last_;    // of the interval before, with the same channels
    unsigned rising_ = 0;         // intervals in which the rate still rose by itself
    std::optional<Rate> before_;  // best rate with the channels before the last addition
    std::uint16_t fewer_ = 0;     // their number
    bool final_ = false;
    ChannelLimit limit_ = ChannelLimit::kTime;
    std::string reason_ = "the memory was sent before the throughput was known";
};

}  // namespace migrate::engine
