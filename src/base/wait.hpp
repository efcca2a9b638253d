// SPDX-License-Identifier: Apache-2.0
// Waits for descriptors, up to a point in time, unless stopped. Invariants: this is the program's
// only poll loop; a signal does not end a wait; a stop or a wake-up that came before a wait ends
// that wait, too.
#pragma once

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <span>
#include <stop_token>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate {

using WaitClock = std::chrono::steady_clock;

// The end of a wait that has none.
inline constexpr WaitClock::time_point kNever = WaitClock::time_point::max();

// Returns the point in time after `time`, which is cut to the range from 0 to a day.
template <typename Rep, typename Period>
WaitClock::time_point after(std::chrono::duration<Rep, Period> time) {
    using Duration = std::chrono::duration<Rep, Period>;
    const Duration day = std::chrono::duration_cast<Duration>(std::chrono::hours(24));
    return WaitClock::now() +
           std::chrono::ceil<std::chrono::nanoseconds>(std::clamp(time, Duration::zero(), day));
}

// Waits until at least one of the descriptors is ready (poll(2): a descriptor of -1 never is).
// Returns how many are, 0 once `until` has come, or -1 with errno set. An `until` in the past
// checks once. Uses system calls only: may be used in the child of a fork.
int wait_for_any(std::span<pollfd> polled, WaitClock::time_point until);

// Returns true if `fd` is readable now or within `time`; a pidfd is readable once its process has
// ended. May be used in the child of a fork.
bool readable_within(int fd, std::chrono::milliseconds time);
// The same for writing.
bool writable_within(int fd, std::chrono::milliseconds time);

// A descriptor that one thread makes readable in order to end the wait of another.
class Wakeup {
  public:
    static Result<Wakeup> create();

    // Any thread may call it, and a signal handler. Only the first call before a clear() counts.
    void wake() const;
    // Returns true if wake() was called since the last clear().
    bool clear() const;
    // Readable from wake() until clear().
    int fd() const { return event_.get(); }

  private:
    explicit Wakeup(UniqueFd event) : event_(std::move(event)) {}

    UniqueFd event_;  // a non-blocking eventfd
};

// Waits that a requested stop ends at once.
class StopWait {
  public:
    // Opens a descriptor, except for a token whose stop nobody can request.
    explicit StopWait(const std::stop_token& stop);

    // Waits until `fd` (-1 for none) has one of `events` (poll(2)). Returns true if it has, false
    // once `until` has come; kCancelled once the stop was requested. An `until` in the past checks
    // once.
    Result<bool> wait_until(int fd, short events, WaitClock::time_point until) const;
    // The same for at most `longest`, up to a day.
    template <typename Rep, typename Period>
    Result<bool> wait(int fd, short events, std::chrono::duration<Rep, Period> longest) const {
        return wait_until(fd, events, after(longest));
    }

  private:
    struct Wake {
        int fd;
        void operator()() const;
    };

    std::stop_token stop_;
    UniqueFd wake_;
    int wake_error_ = 0;  // why there is no wake_
    std::stop_callback<Wake> on_stop_;
};

}  // namespace migrate
