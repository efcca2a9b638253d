// SPDX-License-Identifier: Apache-2.0
// Computes when a vCPU may write next, from its rate and the throttle. It uses no clock and no
// thread. Invariants: writes never exceed the rate by more than kCatchUp's worth; time that a
// throttle or a pause took is not made up for.
#pragma once

#include <chrono>
#include <cstdint>

#include "guest/clock.hpp"

namespace migrate::guest {

class Pace {
  public:
    // Length of a throttle period: running and waiting time together. QEMU's
    // CPU_THROTTLE_TIMESLICE_NS.
    static constexpr std::chrono::milliseconds kSlice{10};
    // Shortest sleep, after which all writes that are due follow. This keeps wake-ups few, and the
    // rate looks smooth over a few ticks.
    static constexpr std::chrono::milliseconds kTick{2};
    static constexpr std::chrono::milliseconds kCatchUp{5};  // longest backlog that is made up for

    // `interval`: time between two writes; 0 for no limit.
    explicit Pace(std::chrono::nanoseconds interval) : interval_(interval) {}
    // Returns the interval of each of `threads` threads that share a rate, rounded up; 0 for no
    // limit.
    static std::chrono::nanoseconds interval(std::uint64_t rate_mib_s, unsigned threads);

    // Call this at the start and after every pause.
    void restart(Clock::time_point now, unsigned throttle_percent);
    // Returns the time until which the vCPU rests before it asks again; if that is `now`, write now
    // and then call wrote().
    Clock::time_point next(Clock::time_point now, unsigned throttle_percent);
    void wrote() { due_ += interval_; }

  private:
    void begin_slice(Clock::time_point now, unsigned throttle_percent);
    Clock::time_point slice_end() const { return window_end_ + taken(); }
    std::chrono::nanoseconds taken() const {
        return std::chrono::nanoseconds(kSlice) * throttle_percent_ / 100;
    }

    std::chrono::nanoseconds interval_;
    Clock::time_point due_{};         // time of the next write
    Clock::time_point window_end_{};  // the throttle takes the time from here to slice_end()
    unsigned throttle_percent_ = 0;
};

}  // namespace migrate::guest
