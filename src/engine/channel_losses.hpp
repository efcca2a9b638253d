// The data channels that a connection has lost: whether the session survives that, which of them
// the two sides have not yet settled, and what it cost. Invariant: each loss is settled once: both
// sides then agree on the pages that arrived on the channel. Thread-safe.
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
    // From now on it does, as before survive(). Returns the error of a loss that is not settled.
    Status end_survival();
    // A channel's thread has ended with this error. Returns true if the session goes on without the
    // channel: its connection was lost, and the session survives that.
    bool take(ChannelId channel, const Error& error);
    // The other side has lost this channel.
    void note(ChannelId channel);

    // The losses that are not settled, in ascending order.
    std::vector<std::uint16_t> open() const;
    bool is_open(ChannelId channel) const;
    // Ends a loss that is open. `cost`: what was sent on the channel and did not arrive.
    struct Cost {
        std::uint64_t pages = 0;
        std::uint64_t bytes = 0;
    };
    void settle(ChannelId channel, const Cost& cost);

    // The error of the last loss; empty if there was none.
    std::string reason() const;
    // Number of channels lost so far.
    std::uint16_t count() const;
    // There was no data channel for this long.
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
