// The one place where a session's first error is kept, and the stop that wakes everybody when it
// comes. Invariant: the first error wins, except that a lost connection gives way to the reason the
// peer sent for it. A lost connection stops the session at once; the search for its reason goes on
// beside that.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>

#include "base/error.hpp"

namespace migrate {

class Cancellation {
  public:
    // Keeps the error if it is the first, and requests the stop. Safe from any thread.
    void fail(Error error);

    // The same for a thread that may only have noticed the stop: what it says then is a
    // consequence, and is dropped, even if the first error is a lost connection whose reason is
    // still searched.
    void fail_unless_stopped(Error error);

    // For kLostConnection: keeps the error for now, calls the listener set by on_lost_connection,
    // which looks for the peer's reason and then calls fail() or confirm_lost(), and requests the
    // stop. Without a listener it is fail().
    void fail_lost_connection(Error error);
    // No reason came: the lost connection is the error.
    void confirm_lost();
    // Called at most once, on the thread that lost the connection.
    void on_lost_connection(std::function<void()> listener);

    std::stop_token token() const { return stop_.get_token(); }
    bool stopped() const { return stop_.stop_requested(); }
    std::optional<Error> error() const;
    // True from the first lost connection on, whatever became of it.
    bool connection_lost() const;
    // True while there is a lost connection and no error yet.
    bool reason_is_open() const;

  private:
    mutable std::mutex mutex_;
    std::optional<Error> error_;      // guarded by mutex_
    std::optional<Error> lost_;       // guarded by mutex_
    std::function<void()> listener_;  // guarded by mutex_
    std::stop_source stop_;
};

}  // namespace migrate
