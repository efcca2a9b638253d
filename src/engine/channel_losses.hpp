// SPDX-License-Identifier: Apache-2.0
// The data channels that a connection has lost, and what their losses cost. A loss is settled when
// both sides know which pages arrived on the channel. Invariant: each loss is settled at most once,
// and unless it is settled, it ends the session at fail_on_loss(). Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "base/units.hpp"
#include "engine/report/outage_report.hpp"

namespace migrate::engine {

class ChannelLosses {
  public:
    // From now on a lost channel does not end the session.
    void survive();
    bool survives() const;
    // The main channel was lost, and with it all data channels.
    void count_main_loss();
    // From now on it does, as before survive(). Returns the error of a loss that is not settled, if
    // there is one.
    Status fail_on_loss();
    // A channel's thread has ended with this error. Returns true if the session goes on without the
    // channel: the error is a lost connection, and the session survives losses.
    bool add(ChannelId channel, const Error& error);
    // The other side has reported the loss of this channel.
    void add_reported(ChannelId channel);

    // The channels whose loss is not settled, in ascending order.
    std::vector<std::uint16_t> unsettled() const;
    bool is_unsettled(ChannelId channel) const;
    // The channel was lost, settled or not.
    bool is_lost(ChannelId channel) const;
    // Settles the loss of a channel. `cost`: what was sent on it and did not arrive.
    struct Cost {
        std::uint64_t pages = 0;
        std::uint64_t bytes = 0;
    };
    void settle(ChannelId channel, const Cost& cost);

    // Text of the last loss's error; empty if no channel was lost.
    std::string reason() const;
    // Number of channels lost so far, settled or not.
    std::uint16_t count() const;
    // For this long there was no data channel at all.
    void add_outage(std::chrono::microseconds time);
    OutageReport report() const;

  private:
    struct Loss {
        ChannelId channel{};
        Error error;
        bool settled = false;
    };
    // The loss of this channel; null if it was not lost.
    const Loss* find(ChannelId channel) const REQUIRES(mutex_);

    mutable Mutex mutex_;
    bool survives_ GUARDED_BY(mutex_) = false;
    std::vector<Loss> losses_ GUARDED_BY(mutex_);
    OutageReport figures_ GUARDED_BY(mutex_);
};

}  // namespace migrate::engine
