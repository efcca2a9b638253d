// SPDX-License-Identifier: Apache-2.0
// A migration as the user of the library sees it: set up, opened, run once, watched and cancelled
// by any thread. Invariants: it runs at most once; an object that a thread of this class runs in is
// not destroyed before that thread has ended.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/config/settings.hpp"
#include "base/error.hpp"
#include "base/mutex.hpp"
#include "base/thread.hpp"
#include "engine/report/events.hpp"
#include "engine/report/guest_owner.hpp"
#include "engine/report/report.hpp"
#include "lib/side.hpp"

namespace migrate::lib {

class Migration {
  public:
    explicit Migration(Side side) : settings_(side) {}
    Migration(const Migration&) = delete;
    Migration& operator=(const Migration&) = delete;
    // Cancels a migration that start() began, and waits for its end.
    ~Migration();

    // These are for one thread, before open(); kUsage afterwards.
    Status set_option(std::string_view text);
    Status add_region(RegionSpec region);
    Status set_guest(Callbacks callbacks);
    Status listen(engine::EventLog::Listener listener);
    // Makes the session; succeeds at once if there is one. After an Error it may be called again.
    Status open();
    // Runs it on the calling thread. Its Error, or that of open(), is the migration's.
    Status run();
    // Runs it on a thread of its own. The Error is that of open(), or of the start of the thread.
    Status start();

    // Any thread may call the rest.
    // The outcome, once it has ended within `timeout`; without a timeout it waits for that. Nothing
    // at once if it does not run.
    std::optional<Status> wait(std::optional<std::chrono::milliseconds> timeout) const;
    void cancel(const std::string& reason);
    Status change(std::string_view option);
    Status continue_switchover();
    // kUsage before open().
    Result<engine::Report> report() const;
    engine::GuestOwner owner() const;
    std::string address() const;

  private:
    enum class State { kNew, kOpen, kRunning, kEnded };
    // An Error if it was opened.
    Status check_new() const;
    // The session, or null. It lives as long as this object.
    OneSide* side() const;
    // Takes the right to run it.
    Result<OneSide*> begin();
    void end(Status outcome);
    Status run_session(OneSide& side);

    Settings settings_;  // set-up only
    Given given_;        // the same
    engine::EventLog events_;
    mutable Mutex mutex_;
    mutable Condition ended_;
    State state_ GUARDED_BY(mutex_) = State::kNew;
    std::unique_ptr<OneSide> side_ GUARDED_BY(mutex_);  // set once
    std::optional<Settings> live_ GUARDED_BY(mutex_);   // with the changes since open()
    std::optional<std::string> cancelled_ GUARDED_BY(mutex_);
    Status outcome_ GUARDED_BY(mutex_);
    Thread thread_;  // of start(); last: its end comes first
};

}  // namespace migrate::lib
