// How a simulated device takes its time. Invariant: over many calls the time taken is the sum of
// what was asked for, however late single waits end, unless the machine has no time at all.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>

#include "base/error.hpp"

namespace migrate::devices {

// What all simulated devices of a host have in common, and only one can use at a time.
class SharedBus {
  public:
    std::mutex& mutex() { return mutex_; }

  private:
    std::mutex mutex_;  // guards nothing but itself: to hold it is to be busy
};

// Used by one thread.
class BusyTime {
  public:
    using Clock = std::chrono::steady_clock;

    // `serialised`: 0 … 1, the share of every time for which the bus is held.
    BusyTime(std::shared_ptr<SharedBus> bus, double serialised)
        : bus_(std::move(bus)), serialised_(serialised) {}

    // Is busy for `cost`, part of which is the time that `work` takes. kCancelled after a stop;
    // else what `work` returned.
    Status pass(std::chrono::nanoseconds cost, const std::stop_token& stop,
                const std::function<Status()>& work = {});

  private:
    // A wait that ended late shortens the next.
    struct Account {
        std::chrono::nanoseconds owed{0};
        bool wait(std::chrono::nanoseconds cost, Clock::time_point began,
                  const std::stop_token& stop);
    };

    std::shared_ptr<SharedBus> bus_;
    double serialised_;
    Account held_;
    Account alone_;
};

}  // namespace migrate::devices
