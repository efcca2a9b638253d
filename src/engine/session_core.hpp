// What a session of either side is made of: its state, its times, its first error, its threads.
// Invariant: the state only ever advances as may_follow() allows, and every step is an event.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "base/cancellation.hpp"
#include "base/error.hpp"
#include "base/outcome.hpp"
#include "base/thread.hpp"
#include "engine/events.hpp"
#include "engine/guest_owner.hpp"
#include "engine/migration_status.hpp"
#include "engine/report.hpp"

namespace migrate::engine {

class SessionCore {
  public:
    // `events` outlives it.
    explicit SessionCore(EventLog& events) : events_(events) {}

    // A whole session on the calling thread: `migrate`, `settle` with its result, and the last
    // state, which tells who has the guest. Returns what settle returned. An exception is an Error,
    // wherever it comes from. `settle` is called again if an exception left it. `owner` does not
    // throw.
    Status run(const std::function<Status()>& migrate, const std::function<Status(Status)>& settle,
               const std::function<GuestOwner()>& owner) noexcept;

    Cancellation& cancellation() { return cancellation_; }
    bool stopped() const { return cancellation_.stopped(); }
    std::stop_token token() const { return cancellation_.token(); }
    ThreadTimes& times() { return times_; }
    EventLog& events() { return events_; }
    MigrationStatus status() const { return status_.get(); }

    // Session's main thread.
    void set_status(MigrationStatus status);
    // total-time runs from here.
    void start_clock();
    // Set-up is over: kActive.
    void activate();
    // Time since activate(), 0 before.
    std::chrono::microseconds active_time() const;
    // How far the session is; it never goes back. Session's main thread.
    void enter(Stage stage) { stage_.store(stage, std::memory_order_release); }
    // The error with the kind that is right at this stage. Any thread.
    Error settled(Error error) const {
        return migrate::settled(std::move(error), stage_.load(std::memory_order_acquire));
    }
    // The same as a function, for a PeerLink.
    std::function<Error(Error)> settler() const {
        return [this](Error error) { return settled(std::move(error)); };
    }
    // The session's outcome once its threads have ended: the first error, whichever had it, or
    // success.
    Status outcome() const;
    // Any thread. What is known so far: status, error, times, threads.
    void fill(Report& report) const;

  private:
    // The last state, and the end of total-time.
    void conclude(const Status& status, GuestOwner owner) noexcept;

    EventLog& events_;
    Cancellation cancellation_;
    ThreadTimes times_;
    StatusCell status_;
    std::atomic<Stage> stage_{Stage::kBeforePages};
    mutable std::mutex mutex_;  // guards what follows
    std::chrono::steady_clock::time_point started_{};
    std::chrono::steady_clock::time_point active_{};
    std::chrono::steady_clock::time_point ended_{};
    std::string error_desc_;
    std::optional<Outcome> outcome_;  // once it has ended
};

}  // namespace migrate::engine
