// SPDX-License-Identifier: Apache-2.0
// Makes a simulated device take its time. Invariant: over many calls the time taken is the sum of
// the requested times, however late single waits end, unless the machine has no spare time at all.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>

#include "base/error.hpp"
#include "base/mutex.hpp"

namespace migrate::devices {

// The resource that all simulated devices of a host share, one at a time.
class SharedBus {
  public:
    Mutex& mutex() { return mutex_; }

  private:
    Mutex mutex_;  // guards no data: a device that holds it is using the bus
};

// Used by one thread.
class BusyTime {
  public:
    using Clock = std::chrono::steady_clock;

    // `serialised`: 0 … 1, the share of every time during which the bus is held.
    BusyTime(std::shared_ptr<SharedBus> bus, double serialised)
        : bus_(std::move(bus)), serialised_(serialised) {}

    // Takes the time `cost`, which includes the time of `work`. kCancelled after a stop; else
    // returns the result of `work`.
    Status pass(std::chrono::nanoseconds cost, const std::stop_token& stop,
                const std::function<Status()>& work = {});

  private:
    // Keeps the time still owed: a wait that ended late shortens the next one.
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
