// A work queue as all channels share it: its portal, what is outstanding, whether it still serves,
// and what it was counted to do.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "accel/dsa/portal.hpp"

namespace migrate::accel::dsa {

// Relaxed: a report is a snapshot, exact once the channels have ended.
struct QueueCounters {
    using Count = std::atomic<std::uint64_t>;

    Count batches{0};        // BATCH descriptors taken
    Count descriptors{0};    // pages given to the queue, in batches or alone
    Count retries{0};        // submissions it had no room for
    Count full{0};           // times that waiting for room was given up
    Count page_faults{0};    // pages it could not read
    Count list_faults{0};    // batches whose descriptors it could not read
    Count record_faults{0};  // answers it could not write
    Count bad_statuses{0};   // any other answer that is none
    Count timeouts{0};       // descriptors it never answered
    Count cpu_pages{0};      // finished by the CPU, whatever the cause
    Count verified{0};       // pages whose answer was checked (accel-verify)
    Count device_ns{0};      // from submission until the answer was seen; batches overlap
    Count wait_ns{0};        // that channels waited for answers
};

class WorkQueue {
  public:
    explicit WorkQueue(std::unique_ptr<Portal> portal);

    const Portal& portal() const { return *portal_; }
    const std::string& name() const { return portal_->name(); }
    bool alive() const { return alive_.load(std::memory_order_acquire); }
    // It is given nothing more; the first reason is logged.
    void disable(std::string_view reason);

    // One attempt, without waiting: how many of the descriptors, from the first on, were taken;
    // none by a queue that was disabled.
    std::size_t submit(std::span<const Descriptor> descriptors);
    // So many of those taken were answered.
    void answered(std::size_t count);
    // An answer did not reach its record, whose memory is lost to us; a queue that goes on like
    // that is disabled.
    void lost_memory();
    QueueCounters& counters() { return counters_; }
    const QueueCounters& counters() const { return counters_; }

    // Whether it is worth waiting for room: not when waiting was in vain the last time.
    bool has_flow() const { return has_flow_.load(std::memory_order_relaxed); }
    void set_flow(bool flows) { has_flow_.store(flows, std::memory_order_relaxed); }

  private:
    std::unique_ptr<Portal> portal_;
    std::atomic<bool> alive_{true};
    std::atomic<bool> has_flow_{true};
    std::atomic<unsigned> losses_{0};
    // What a dedicated queue has room for; it would lose more without a word.
    std::atomic<std::size_t> room_;
    QueueCounters counters_;
};

}  // namespace migrate::accel::dsa
