// SPDX-License-Identifier: Apache-2.0
// A work queue that all channels share: its portal, its outstanding descriptors, whether it is
// still usable, and its counters. A queue that fails is disabled for good. A queue that takes no
// work, or refuses it, is left: it gets a trial batch from time to time, and is used again once it
// answers one.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "accel/dsa/portal.hpp"
#include "base/mutex.hpp"

namespace migrate::accel::dsa {

// Access is relaxed: a report is a snapshot, which is exact once the channels have ended.
struct QueueCounters {
    using Count = std::atomic<std::uint64_t>;

    Count batches{0};        // BATCH descriptors taken
    Count descriptors{0};    // pages given to the queue, in batches or singly
    Count retries{0};        // submissions for which it had no room
    Count full{0};           // times that waiting for room timed out
    Count page_faults{0};    // pages it could not read
    Count list_faults{0};    // batches whose descriptors it could not read
    Count record_faults{0};  // answers it could not write
    Count bad_statuses{0};   // any other invalid answer
    Count timeouts{0};       // descriptors it never answered
    Count late_pages{0};     // pages whose answer came after the CPU had checked them
    Count times_left{0};     // times that its channels left it
    Count cpu_pages{0};      // pages finished by the CPU, for any reason
    Count looked_at{0};      // pages whose first bytes the CPU read
    Count prefiltered{0};    // those of them whose first bytes are not zero
    Count verified{0};       // pages whose answer was checked (accel-verify)
    Count device_ns{0};      // sum of times from submission to answer; batches overlap
    Count wait_ns{0};        // time that channels waited for answers
};

class WorkQueue {
  public:
    using Point = std::chrono::steady_clock::time_point;

    explicit WorkQueue(std::unique_ptr<Portal> portal);

    const Portal& portal() const { return *portal_; }
    const std::string& name() const { return portal_->name(); }
    bool alive() const { return alive_.load(std::memory_order_acquire); }
    // Ends the use of the queue; the first reason is logged.
    void disable(std::string_view reason);
    // Does so because a descriptor was not answered within accel-timeout.
    void timed_out();

    // False if the queue is disabled, or left and not due for a trial.
    bool usable() const { return alive() && !left(); }
    bool left() const { return left_.load(std::memory_order_acquire); }
    // Returns true for one caller each time that a queue that was left is due for a trial.
    bool take_trial(Point now);
    // Notes that `count` pages were answered with a status that refuses work. The channels leave
    // the queue after kMaxRefusals in a row.
    void refused(std::uint8_t status, std::uint32_t count, Point now);
    // Notes that the queue had no room for a batch for as long as a channel may wait. The channels
    // leave it after kMaxFull of these in a row; at once if the wait was a long one.
    void stayed_full(Point now, bool for_long);
    // Notes a valid answer: a queue that was left is used again.
    void answered_well();
    static constexpr std::uint32_t kMaxRefusals = 64;
    static constexpr std::uint32_t kMaxFull = 8;
    // Time between two trials of a queue that was left.
    static constexpr std::chrono::milliseconds kTrialInterval{20};
    // Why the queue was left or disabled, most recently; empty: never. Any thread.
    std::string trouble() const;

    // Makes one attempt without waiting; returns how many of the descriptors, from the first on,
    // were taken: none if the queue is disabled.
    std::size_t submit(std::span<const Descriptor> descriptors);
    // Notes that `count` of the descriptors taken were answered.
    void answered(std::size_t count);
    // Notes that an answer did not reach its record, whose memory cannot be reused. Disables the
    // queue if this happens too often.
    void lost_memory();
    QueueCounters& counters() { return counters_; }
    const QueueCounters& counters() const { return counters_; }

  private:
    void leave(std::string reason, Point now);

    std::unique_ptr<Portal> portal_;
    std::atomic<bool> alive_{true};
    std::atomic<bool> left_{false};
    std::atomic<Point::rep> trial_at_{0};  // time since the clock's epoch
    std::atomic<std::uint32_t> refusals_{0};
    std::atomic<std::uint32_t> times_full_{0};
    std::atomic<unsigned> losses_{0};
    // Free entries of a dedicated queue, which would silently lose any more descriptors.
    std::atomic<std::size_t> room_;
    QueueCounters counters_;
    mutable Mutex mutex_;
    std::string trouble_ GUARDED_BY(mutex_);
};

}  // namespace migrate::accel::dsa
