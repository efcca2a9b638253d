// SPDX-License-Identifier: Apache-2.0
// The connection of a main channel. It can be lost while its session goes on, and be replaced.
// Invariant: a loss is either one that the session survives, or an error of the session, and the
// session's thread knows which from the moment in which it ends the survival. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "transport/control_channel.hpp"

namespace migrate::engine {

class LinkConnection {
  public:
    using Channel = std::shared_ptr<transport::ControlChannel>;

    explicit LinkConnection(Channel channel) : channel_(std::move(channel)) {}

    Channel get() const;
    // Another connection takes the place of one that was lost.
    void replace(Channel channel);

    // From now on the session survives the loss. `on_lost` is called on the thread that notices it.
    // It does not use this object. Has no effect after the first call.
    void survive(std::function<void()> on_lost);
    // From now on it does not, and `on_lost` is not called any more. Returns the error of a
    // connection that was lost before.
    Status fail_on_loss();
    bool survives() const;
    // The connection was lost. Returns true if the session survives that.
    bool take_loss(const Error& error);
    // The error of the loss, if the connection was lost and not replaced.
    std::optional<Error> lost() const;

    // Over all connections.
    std::uint64_t bytes_sent() const;
    std::uint64_t bytes_received() const;

  private:
    mutable Mutex mutex_;
    Channel channel_ GUARDED_BY(mutex_);
    std::function<void()> on_lost_ GUARDED_BY(mutex_);  // null: the session does not survive a loss
    std::optional<Error> lost_ GUARDED_BY(mutex_);
    std::uint64_t sent_before_ GUARDED_BY(mutex_) = 0;  // on the connections before this one
    std::uint64_t received_before_ GUARDED_BY(mutex_) = 0;
};

}  // namespace migrate::engine
