// SPDX-License-Identifier: Apache-2.0
// Keeps a session's first error, and the stop that wakes all its threads when it comes. Invariant:
// the first error wins, except that a lost connection gives way to the reason that the peer sent
// for it. A lost connection stops the session at once; the search for its reason continues
// meanwhile. A connection has its own cancellation below its session's, so that it can end while
// the session goes on.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <stop_token>

#include "base/error.hpp"
#include "base/mutex.hpp"

namespace migrate {

class Cancellation {
  public:
    Cancellation() = default;
    // The cancellation of a connection, below that of its session, which outlives it. A stop of the
    // session stops the connection. An error of the connection is an error of the session, until
    // end() is called.
    explicit Cancellation(Cancellation& session);
    Cancellation(const Cancellation&) = delete;
    Cancellation& operator=(const Cancellation&) = delete;

    // Stops the connection only. Its errors from now on are consequences, and are dropped.
    void end();

    // Keeps the error if it is the first, and requests the stop. Safe from any thread.
    void fail(Error error);

    // The same for a thread that may only have noticed the stop. Its error is then a consequence
    // and is dropped, even if the first error is a lost connection whose reason is still being
    // searched.
    void fail_unless_stopped(Error error);

    // For kLostConnection. Keeps the error for now, calls the listener set by on_lost_connection()
    // and requests the stop. The listener looks for the peer's reason and then calls fail() or
    // confirm_lost(). Without a listener this is the same as fail().
    void fail_lost_connection(Error error);
    // No reason came: the lost connection is the session's error.
    void confirm_lost();
    // Sets the listener, or removes it with nullptr. It is called at most once, on the thread that
    // lost the connection.
    void on_lost_connection(std::function<void()> listener);

    std::stop_token token() const { return stop_.get_token(); }
    bool stopped() const { return stop_.stop_requested(); }
    std::optional<Error> error() const;
    // True from the first lost connection on, whatever came of it.
    bool connection_lost() const;
    // True while there is a lost connection and no error yet.
    bool reason_is_open() const;

  private:
    // True if an error of this connection no longer concerns its session.
    bool is_consequence() const { return ended_.load(std::memory_order_acquire); }

    Cancellation* const session_ = nullptr;  // keeps the errors of a connection; null: a session
    std::atomic<bool> ended_{false};
    mutable Mutex mutex_;
    std::optional<Error> error_ GUARDED_BY(mutex_);
    std::optional<Error> lost_ GUARDED_BY(mutex_);
    std::function<void()> listener_ GUARDED_BY(mutex_);
    std::stop_source stop_;
    std::optional<std::stop_callback<std::function<void()>>> on_session_stop_;
};

}  // namespace migrate
