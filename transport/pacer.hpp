// max-bandwidth: one budget of bytes shared by all channels.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>

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
    void refill(Clock::time_point now);

    std::mutex mutex_;
    std::condition_variable_any changed_;
    std::uint64_t rate_;                         // guarded by mutex_
    double tokens_ = 0;                          // guarded by mutex_; negative: overdrawn
    Clock::time_point refilled_ = Clock::now();  // guarded by mutex_
};

}  // namespace migrate::transport
