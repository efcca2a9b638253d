// A work queue that all channels share: its portal, its outstanding descriptors, whether it is
// still usable, and its counters.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "accel/dsa/portal.hpp"

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
    Count cpu_pages{0};      // pages finished by the CPU, for any reason
    Count verified{0};       // pages whose answer was checked (accel-verify)
    Count device_ns{0};      // sum of times from submission to answer; batches overlap
    Count wait_ns{0};        // time that channels waited for answers
};

class WorkQueue {
  public:
    explicit WorkQueue(std::unique_ptr<Portal> portal);

    const Portal& portal() const { return *portal_; }
    const std::string& name() const { return portal_->name(); }
    bool alive() const { return alive_.load(std::memory_order_acquire); }
    // Ends the use of the queue; the first reason is logged.
    void disable(std::string_view reason);

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

    // False after a wait for room timed out.
    bool has_flow() const { return has_flow_.load(std::memory_order_relaxed); }
    void set_flow(bool flows) { has_flow_.store(flows, std::memory_order_relaxed); }

  private:
    std::unique_ptr<Portal> portal_;
    std::atomic<bool> alive_{true};
    std::atomic<bool> has_flow_{true};
    std::atomic<unsigned> losses_{0};
    // Free entries of a dedicated queue, which would silently lose any more descriptors.
    std::atomic<std::size_t> room_;
    QueueCounters counters_;
};

}  // namespace migrate::accel::dsa
