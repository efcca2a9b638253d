// SPDX-License-Identifier: Apache-2.0
// Watches a guest's process while the session's own threads wait for something else, so that a
// guest that ends, or that can no longer be moved, ends its migration at once.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/thread.hpp"
#include "engine/session_core.hpp"
#include "guest/guest.hpp"

namespace migrate::engine {

class GuestWatcher {
  public:
    struct Needs {
        int alarm = -1;                   // duplicated; -1: nothing is watched
        std::function<Status()> check;    // called whenever `alarm` is readable
        std::function<void(Error)> fail;  // called with the Error of `check`, once
    };
    // Starts the thread guest_watch, on which the functions are called. What they use, `times` and
    // `cancellation` outlive this object.
    static Result<std::unique_ptr<GuestWatcher>> start(Needs needs, ThreadTimes& times,
                                                       Cancellation& cancellation);
    // The same for a process in which a guest is to arrive.
    static Result<std::unique_ptr<GuestWatcher>> start_for(const guest::GuestProcess& process,
                                                           SessionCore& core,
                                                           std::function<void(Error)> fail);
    // Watches no longer, and waits for nothing: a check that has begun may still call `fail`.
    void end() { end_.request_stop(); }
    // Waits until a check that has begun returns.
    ~GuestWatcher();
    GuestWatcher(const GuestWatcher&) = delete;
    GuestWatcher& operator=(const GuestWatcher&) = delete;

  private:
    GuestWatcher(UniqueFd alarm, Needs needs)
        : alarm_(std::move(alarm)), needs_(std::move(needs)) {}
    Status run();

    UniqueFd alarm_;
    Needs needs_;
    std::stop_source end_;
    std::optional<SessionThread> thread_;
};

}  // namespace migrate::engine
