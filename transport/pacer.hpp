// SPDX-License-Identifier: Apache-2.0
// max-bandwidth: one budget of bytes shared by all channels.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>

#include "base/mutex.hpp"

namespace migrate::transport {

// Bytes that passed without waiting.
struct PacerBurst {
    std::uint64_t bytes = 0;
    std::chrono::steady_clock::time_point began{};  // when the first of them passed
};

// A token bucket that holds at most 50 ms of the rate; a single packet may overdraw it, and the
// next one waits.
class Pacer {
  public:
    // `bytes_per_second`: 0 is unlimited.
    explicit Pacer(std::uint64_t bytes_per_second) : rate_(bytes_per_second) {}

    // Waits until `bytes` may be sent. Returns false if stop was requested meanwhile. Any thread
    // may call it.
    bool acquire(std::uint64_t bytes, const std::stop_token& stop);
    // Takes effect for waiting threads, too, and ends a burst. Any thread may call it.
    void set_rate(std::uint64_t bytes_per_second);
    // Bytes per second; 0 is unlimited. Any thread may call it.
    std::uint64_t rate() const;

    // From now on bytes do not wait, and those after the burst pay for them. Bytes of this burst
    // wait until an earlier one is paid for, so the rate holds over the time of two bursts. No
    // effect without a limit. Any thread may call these.
    void begin_burst();
    // Nothing if no bytes passed in the burst, or the rate changed meanwhile.
    std::optional<PacerBurst> end_burst();

  private:
    using Clock = std::chrono::steady_clock;
    void refill(Clock::time_point now) REQUIRES(mutex_);
    bool bursts() const REQUIRES(mutex_) { return burst_.has_value() && !owes_; }

    mutable Mutex mutex_;
    StopCondition changed_;
    std::uint64_t rate_ GUARDED_BY(mutex_);
    double tokens_ GUARDED_BY(mutex_) = 0;  // negative: overdrawn
    Clock::time_point refilled_ GUARDED_BY(mutex_) = Clock::now();
    std::optional<PacerBurst> burst_ GUARDED_BY(mutex_);  // the present one
    bool owes_ GUARDED_BY(mutex_) = false;                // the last burst is not paid for
};

}  // namespace migrate::transport
