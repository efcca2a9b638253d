// SPDX-License-Identifier: Apache-2.0
// The common part of both sides' sessions: state, times, first error, threads. Invariant: the state
// changes only as may_follow() allows, and every step is an event.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <string>

#include "base/cancellation.hpp"
#include "base/cpu_budget.hpp"
#include "base/error.hpp"
#include "base/outcome.hpp"
#include "base/thread.hpp"
#include "engine/cpu_config.hpp"
#include "engine/report/events.hpp"
#include "engine/report/guest_owner.hpp"
#include "engine/report/migration_status.hpp"
#include "engine/report/progress_meter.hpp"
#include "engine/report/published.hpp"
#include "engine/report/report.hpp"
#include "engine/report/session_figures.hpp"
#include "transport/session_id.hpp"

namespace migrate::engine {

class SessionCore {
  public:
    // `events` and `figures` outlive this object.
    SessionCore(EventLog& events, PublishedPart<SessionFigures> figures, const CpuConfig& cpu = {})
        : events_(events),
          figures_(figures),
          cpu_(cpu),
          budget_(cpus_allowed(cpu.budget_percent)) {}

    // Runs a whole session on the calling thread: `migrate`, then `settle` with its result, then
    // the last state, which says who has the guest. Returns what `settle` returned. Any exception
    // becomes an Error. If `settle` throws, it is called a second time. `owner` does not throw.
    Status run(const std::function<Status()>& migrate, const std::function<Status(Status)>& settle,
               const std::function<GuestOwner()>& owner) noexcept;

    Cancellation& cancellation() { return cancellation_; }
    bool stopped() const { return cancellation_.stopped(); }
    std::stop_token token() const { return cancellation_.token(); }
    ThreadTimes& times() { return times_; }
    EventLog& events() { return events_; }
    // Holds from activate() until it is lifted, or the session ends.
    CpuBudget& budget() { return budget_; }
    MigrationStatus status() const { return status_.get(); }

    // Called by the session's main thread.
    void set_status(MigrationStatus status);
    // Both sides have agreed on this session.
    void agreed(const transport::SessionId& session);
    // Starts total-time.
    void start_clock();
    // Ends total-time before the session ends.
    void stop_clock();
    // Ends the set-up and sets kActive.
    void activate();
    // Time since activate(), 0 before.
    std::chrono::microseconds active_time() const;
    // Sets the session's stage, which never goes back. Called by the session's main thread.
    void enter(Stage stage) { stage_.store(stage, std::memory_order_release); }
    // Returns the error with the kind that is right at this stage. Any thread.
    Error settled(Error error) const {
        return migrate::settled(std::move(error), stage_.load(std::memory_order_acquire));
    }
    // The same as a function, for a PeerLink.
    std::function<Error(Error)> settler() const {
        return [this](Error error) { return settled(std::move(error)); };
    }
    // The session's outcome once its threads have ended: the first error of any thread, or success.
    Status outcome() const;
    // Fills in what is known so far: status, error, times, threads. Any thread, which holds the
    // lock of `figures`: those of this session.
    void fill(Report& report, const SessionFigures& figures) const;
    // Fills in the progress while pages may move; the rest of the report is complete. As fill().
    void fill_progress(Report& report, const SessionFigures& figures) const;

  private:
    // Sets the last state and ends total-time.
    void conclude(const Status& status, GuestOwner owner) noexcept;

    EventLog& events_;
    const PublishedPart<SessionFigures> figures_;
    const CpuConfig cpu_;
    CpuBudget budget_;
    Cancellation cancellation_;
    ThreadTimes times_;
    StatusCell status_;
    mutable ProgressMeter progress_;
    std::atomic<Stage> stage_{Stage::kBeforePages};
};

}  // namespace migrate::engine
