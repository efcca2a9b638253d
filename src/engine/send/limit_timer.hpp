// SPDX-License-Identifier: Apache-2.0
// Acts at set times while a live migration runs, whatever its threads wait for: ends it, or lifts
// its limits. Invariant: a moment that was set triggers once, unless it is cleared before it comes.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <optional>

#include "base/cancellation.hpp"
#include "base/mutex.hpp"
#include "base/thread.hpp"

namespace migrate::engine {

class LimitTimer {
  public:
    using Clock = std::chrono::steady_clock;
    enum class Limit {
        kDeadline,  // on-deadline=cancel
        kStallLimit,
        kSwitchOver,  // on-deadline=switch: the present round is the last one before the switchover
    };

    // Calls `on_expiry` on the timer's thread when a moment has come. The timer also ends when
    // `cancellation` stops. `cancellation` and everything that `on_expiry` uses outlive this
    // object.
    LimitTimer(Cancellation& cancellation, std::function<void(Limit)> on_expiry);
    ~LimitTimer();
    LimitTimer(const LimitTimer&) = delete;
    LimitTimer& operator=(const LimitTimer&) = delete;

    // Starts the thread limit_timer. Call once. `times` outlives this object.
    Status start(ThreadTimes& times);
    // Replaces the moment of `limit`; std::nullopt clears it. A moment in the past triggers at
    // once. Any thread.
    void set(Limit limit, std::optional<Clock::time_point> moment);

  private:
    Status run();

    Cancellation& cancellation_;
    std::function<void(Limit)> on_expiry_;
    Mutex mutex_;
    StopCondition changed_;
    std::array<std::optional<Clock::time_point>, 3> moments_ GUARDED_BY(mutex_);
    bool any_change_ GUARDED_BY(mutex_) = false;
    bool ended_ GUARDED_BY(mutex_) = false;
    std::optional<SessionThread> thread_;
};

}  // namespace migrate::engine
