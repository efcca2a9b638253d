// SPDX-License-Identifier: Apache-2.0
// Serves the listener on a thread of its own while a receiver is busy with a sender. Invariant:
// another sender is refused at once, and a connection of another session is closed; only the
// connections of the receiver's own session are kept, in the order in which they came.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <stop_token>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "base/thread.hpp"
#include "transport/listener.hpp"

namespace migrate::engine {

class BusyListener {
  public:
    // `listener` outlives this object, and nothing else uses it meanwhile. Fails if the thread
    // cannot be started.
    static Result<std::unique_ptr<BusyListener>> start(transport::Listener& listener);
    BusyListener(const BusyListener&) = delete;
    BusyListener& operator=(const BusyListener&) = delete;
    // Ends the thread; connections that were not taken are closed.
    ~BusyListener();

    // A sender was accepted: the connections of this session are kept from now on.
    void serve(const transport::SessionId& session);
    // Does the same as Listener::next(), but returns only connections of the session, and none for
    // post-copy.
    Result<transport::NewConnection> next(std::chrono::milliseconds timeout,
                                          const std::stop_token& stop) {
        return next_of(&BusyListener::kept_, timeout, stop);
    }
    // The same for connections for post-copy. Another thread may call it.
    Result<transport::NewConnection> next_for_postcopy(std::chrono::milliseconds timeout,
                                                       const std::stop_token& stop) {
        return next_of(&BusyListener::for_postcopy_, timeout, stop);
    }

  private:
    // More than the channels of a session, and those that replace lost ones.
    static constexpr std::size_t kMostKept = 512;
    // A few attempts need no more; older connections are closed.
    static constexpr std::size_t kMostForPostcopy = 8;
    using Kept = std::deque<transport::NewConnection>;

    explicit BusyListener(transport::Listener& listener) : listener_(listener) {}
    Status run(const std::stop_token& stop);
    void take(transport::NewConnection connection);
    void fail(Error error) noexcept;
    Result<transport::NewConnection> next_of(Kept BusyListener::*kept,
                                             std::chrono::milliseconds timeout,
                                             const std::stop_token& stop);

    transport::Listener& listener_;
    Mutex mutex_;
    StopCondition came_;
    std::optional<transport::SessionId> session_ GUARDED_BY(mutex_);
    Kept kept_ GUARDED_BY(mutex_);
    Kept for_postcopy_ GUARDED_BY(mutex_);
    std::optional<Error> failed_ GUARDED_BY(mutex_);  // the thread has ended
    Thread thread_;                                   // last: it uses the rest
};

}  // namespace migrate::engine
