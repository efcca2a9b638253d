// When a vCPU may write next: its rate, and the throttle. No clock and no thread in here.
// Invariants: writes never exceed the rate by more than kCatchUp's worth; time taken by a throttle
// or a pause is not made up for.
#pragma once

#include <chrono>
#include <cstdint>

#include "guest/clock.hpp"

namespace migrate::guest {

class Pace {
  public:
    // What QEMU calls CPU_THROTTLE_TIMESLICE_NS; here the vCPU's running and waiting time together.
    static constexpr std::chrono::milliseconds kSlice{10};
    // It sleeps at least so long, and then does what has become due; so few wake-ups, and a rate
    // that is smooth to anyone who looks every few of these.
    static constexpr std::chrono::milliseconds kTick{2};
    static constexpr std::chrono::milliseconds kCatchUp{5};

    // Time between two writes; 0: none.
    explicit Pace(std::chrono::nanoseconds interval) : interval_(interval) {}
    // The interval of one of `threads` threads that share a rate, rounded up; 0 for no limit.
    static std::chrono::nanoseconds interval(std::uint64_t rate_mib_s, unsigned threads);

    // After a pause, and at the start.
    void restart(Clock::time_point now, unsigned throttle_percent);
    // Until when to rest before asking again; `now` itself: write now, and say so by wrote().
    Clock::time_point next(Clock::time_point now, unsigned throttle_percent);
    void wrote() { due_ += interval_; }

  private:
    void begin_slice(Clock::time_point now, unsigned throttle_percent);
    Clock::time_point slice_end() const { return window_end_ + taken(); }
    std::chrono::nanoseconds taken() const {
        return std::chrono::nanoseconds(kSlice) * throttle_percent_ / 100;
    }

    std::chrono::nanoseconds interval_;
    Clock::time_point due_{};         // of the next write
    Clock::time_point window_end_{};  // the throttle takes the time from here to slice_end()
    unsigned throttle_percent_ = 0;
};

}  // namespace migrate::guest
