// SPDX-License-Identifier: Apache-2.0
// Keeps one side of a migration within a share of the host's CPU time (cpu-budget). Invariants: the
// CPU time used since begin() exceeds the budget by no more than a short burst and the work between
// two calls of pace(); nothing waits before begin() or after lift().
#pragma once

#include <chrono>
#include <functional>
#include <stop_token>

#include "base/mutex.hpp"

namespace migrate {

class CpuBudget {
  public:
    using Clock = std::chrono::steady_clock;
    // Returns the CPU time that counts. Any thread calls it.
    using UsedTime = std::function<std::chrono::nanoseconds()>;
    // A test may give both; `now` must not go back.
    using Now = std::function<Clock::time_point()>;

    // `cpus`: CPUs' worth of time that may be used, as a number of CPUs; 0: no limit, but the use
    // is measured.
    explicit CpuBudget(double cpus);
    CpuBudget(double cpus, UsedTime used, Now now);

    // The use counts from now on.
    void begin();
    // Called between two pieces of work: waits while more has been used than the budget allows, at
    // most kLongestWait. Returns false if stop was requested. Any thread.
    bool pace(const std::stop_token& stop);
    // From now on nothing waits, and the use does not count any more: the guest is paused, the
    // deadline has passed, or the session ends. Any thread.
    void lift();

    // A piece of work is let through after this time, whatever was used: a peer waits for it.
    static constexpr std::chrono::milliseconds kLongestWait{500};

    struct Figures {
        double cpus_allowed = 0;             // 0: no limit
        double cpus_used = 0;                // mean from begin() to lift()
        std::chrono::microseconds waited{};  // by all threads together
    };
    // Any thread.
    Figures figures() const;

  private:
    void refill(Clock::time_point now) REQUIRES(mutex_);

    const double cpus_;
    const UsedTime used_;
    const Now now_;
    mutable Mutex mutex_;
    StopCondition changed_;
    bool runs_ GUARDED_BY(mutex_) = false;
    double allowance_ GUARDED_BY(mutex_) = 0;  // seconds of CPU time; negative: used too much
    Clock::time_point refilled_ GUARDED_BY(mutex_){};
    std::chrono::nanoseconds used_at_refill_ GUARDED_BY(mutex_){};
    Clock::time_point began_ GUARDED_BY(mutex_){};
    std::chrono::nanoseconds used_at_begin_ GUARDED_BY(mutex_){};
    std::chrono::nanoseconds held_ GUARDED_BY(mutex_){};       // from begin() to lift()
    std::chrono::nanoseconds held_used_ GUARDED_BY(mutex_){};  // CPU time in it
    std::chrono::nanoseconds waited_ GUARDED_BY(mutex_){};
};

}  // namespace migrate
