// max-bandwidth: one budget of bytes shared by all channels.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>

#include "base/mutex.hpp"

namespace migrate::transport {

// A token bucket that holds at most 50 ms of the rate; a single packet may overdraw it, and the
// next one waits.
class Pacer {
  public:
    // `bytes_per_second`: 0 is unlimited.
    explicit Pacer(std::uint64_t bytes_per_second) : rate_(bytes_per_second) {}

    // Waits until `bytes` may be sent. Returns false if stop was requested meanwhile. Any thread
    // may call it.
    bool acquire(std::uint64_t bytes, const std::stop_token& stop);
    // Takes effect for waiting threads, too. Any thread may call it.
    void set_rate(std::uint64_t bytes_per_second);

  private:
    using Clock = std::chrono::steady_clock;
    void refill(Clock::time_point now) REQUIRES(mutex_);

    Mutex mutex_;
    StopCondition changed_;
    std::uint64_t rate_ GUARDED_BY(mutex_);
    double tokens_ GUARDED_BY(mutex_) = 0;  // negative: overdrawn
    Clock::time_point refilled_ GUARDED_BY(mutex_) = Clock::now();
};

}  // namespace migrate::transport
