// SPDX-License-Identifier: Apache-2.0
// The parameters that the user may change while a migration runs, the waits that such a change or
// migrate-continue ends, and the timer that ends a live migration at its limits. Invariant: a stop
// of the session ends every wait.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/mutex.hpp"
#include "engine/convergence/convergence.hpp"
#include "engine/send/guest_custody.hpp"
#include "engine/send/limit_timer.hpp"
#include "engine/send/send_figures.hpp"
#include "engine/session_core.hpp"
#include "transport/pacer.hpp"

namespace migrate::engine {

class LiveControl {
  public:
    using Clock = std::chrono::steady_clock;

    // All but `tunables` outlive this object.
    LiveControl(const Tunables& tunables, transport::Pacer& pacer, SessionCore& core,
                PublishedSend& published, GuestCustody& custody)
        : pacer_(pacer), core_(core), published_(published), custody_(custody) {
        published_.lock()->tunables = tunables;
    }

    // Any thread may call these.
    void change(const Tunables& tunables);
    Tunables tunables() const { return published_.lock()->tunables; }
    // Post-copy is to begin after the present round.
    void start_postcopy();
    bool postcopy_asked() const {
        const MutexLock lock(mutex_);
        return postcopy_asked_;
    }
    // Ends await_continue(); an Error if nothing waits there.
    Status continue_switchover();
    // The main channel was lost. Until end_outage() it ends await_continue().
    void interrupt();

    // The session's thread calls the rest.
    struct Current {
        Tunables tunables;
        bool changed;  // since the last call
    };
    // A change after this call ends the wait that may follow the decision.
    Current take_tunables();
    // Waits for continue_switchover(). kCancelled if the session was stopped, kLostConnection once
    // the main channel was lost.
    Status await_continue();
    // Waits until `moment`, a change of the parameters, or a deadline at which the guest is
    // switched over. kCancelled if the session was stopped.
    Status wait_until(Clock::time_point moment);
    // The bandwidth is not limited from now on, whatever max-bandwidth says.
    void lift_rate();
    // The switchover broke off, and the guest runs again: the bandwidth is limited, and another
    // switchover waits for another continue_switchover().
    void return_to_precopy();
    // Sets the present step ("in round 3"), for the error of a migration that the timer ends.
    void say(std::string doing);
    // Notes the decision after a round: why the guest was not switched over, and since when no
    // countermeasure is left.
    void note(const Decision& decision);
    // From begin_outage() to end_outage() no data can be sent. That time does not count as a stall.
    void begin_outage();
    void end_outage(Microseconds lasted);
    // Starts the thread that ends the migration at its deadline or at stall-limit.
    Status start_timer();
    void stop_timer();

  private:
    void set_timer() REQUIRES(mutex_);
    Clock::time_point active_since() const { return Clock::now() - core_.active_time(); }
    void on_expiry(LimitTimer::Limit limit);
    Error reason_to_end(LimitTimer::Limit limit) const;

    transport::Pacer& pacer_;
    SessionCore& core_;
    PublishedSend& published_;  // keeps the tunables
    GuestCustody& custody_;
    mutable Mutex mutex_;  // locked before the lock of published_
    StopCondition woken_;
    // The wait for continue_switchover(). Its mutex is locked while no other one of this object is:
    // interrupt() is called under the lock of a connection.
    struct Continuation {
        Mutex mutex;
        StopCondition came;
        bool may_switch_over GUARDED_BY(mutex) = false;  // migrate-continue came
        bool awaited GUARDED_BY(mutex) = false;
        bool interrupted GUARDED_BY(mutex) = false;
    };
    Continuation continuation_;
    bool changed_ GUARDED_BY(mutex_) = false;  // tunables() changed since the last decision
    bool rate_lifted_ GUARDED_BY(mutex_) = false;
    bool postcopy_asked_ GUARDED_BY(mutex_) = false;
    std::string doing_ GUARDED_BY(mutex_);
    std::optional<std::string> last_reason_ GUARDED_BY(mutex_);  // empty before the first decision
    // When a stall ends the migration.
    struct Stall {
        std::optional<Microseconds> exhausted_at;  // of the last decision
        bool in_outage = false;
        Microseconds outages{};  // time of those that have ended
    };
    Stall stall_ GUARDED_BY(mutex_);
    // Set while a live migration is active.
    std::unique_ptr<LimitTimer> timer_ GUARDED_BY(mutex_);
};

}  // namespace migrate::engine
