// SPDX-License-Identifier: Apache-2.0
// When a side sends its next heartbeat, and whether its peer has been silent for too long. A pure
// function of the times that it is told; see link_times.hpp for how they are chosen. Thread-safe.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>

#include "engine/link_times.hpp"

namespace migrate::engine {

class Liveness {
  public:
    using Clock = std::chrono::steady_clock;
    using milliseconds = std::chrono::milliseconds;

    // The peer is not judged before agree(): it prepares, and handshake-timeout limits that.
    explicit Liveness(milliseconds io_timeout)
        : io_timeout_(io_timeout), interval_(make_link_times(io_timeout, std::nullopt).heartbeat) {}

    // Applies the times derived from both sides' io-timeouts; the peer's silence counts from now
    // on.
    void agree(const LinkTimes& times) {
        interval_.store(times.heartbeat);
        judged_from_.store(Clock::now());
        judges_.store(true, std::memory_order_release);
    }
    void stop_sending() { sends_.store(false, std::memory_order_relaxed); }
    void stop_expecting() { expects_.store(false, std::memory_order_relaxed); }
    void resume_sending() { sends_.store(true, std::memory_order_relaxed); }
    // The peer's silence counts from now on.
    void resume_expecting() {
        judged_from_.store(Clock::now());
        expects_.store(true, std::memory_order_release);
    }

    // This side cannot read what the peer sends now, so it cannot judge the peer.
    void not_reading() { not_reading_.store(Clock::now(), std::memory_order_relaxed); }

    bool heartbeat_is_due(Clock::time_point last_sent) const {
        return sends_.load(std::memory_order_relaxed) &&
               Clock::now() - last_sent >= interval_.load();
    }
    // Time until the next heartbeat; at most one interval.
    milliseconds until_heartbeat(Clock::time_point last_sent) const {
        const milliseconds interval = interval_.load();
        const auto due = std::chrono::ceil<milliseconds>(last_sent + interval - Clock::now());
        // An overdue heartbeat found no room, or heartbeats are no longer sent.
        return due.count() > 0 ? std::min(due, interval) : interval;
    }
    // True if a peer that was last heard at that time has been silent for longer than io-timeout.
    bool is_silent(Clock::time_point last_heard) const {
        if (!judges_.load(std::memory_order_acquire) || !expects_.load(std::memory_order_relaxed)) {
            return false;
        }
        const auto heard = std::max(
            {last_heard, not_reading_.load(std::memory_order_relaxed), judged_from_.load()});
        return Clock::now() - heard > io_timeout_;
    }

  private:
    const milliseconds io_timeout_;
    std::atomic<milliseconds> interval_;            // between heartbeats
    std::atomic<bool> judges_{false};               // set by agree()
    std::atomic<Clock::time_point> judged_from_{};  // set before judges_
    std::atomic<Clock::time_point> not_reading_{};
    std::atomic<bool> sends_{true};
    std::atomic<bool> expects_{true};
};

}  // namespace migrate::engine
