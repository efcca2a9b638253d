// Descriptors on their way from submitters to engines, in order.
// Invariant: put() is wait-free, whoever it interrupts: room is reserved first, and engines free a
// slot before they give its room back, so that a place that was reserved is always free.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "accel/dsa/descriptor.hpp"

namespace migrate::accel::softdsa {

class WorkQueue {
  public:
    struct Entry {
        dsa::Descriptor descriptor;
        std::uint64_t submitted_ns = 0;
        std::uint64_t position = 0;  // of all descriptors of the queue
    };

    // `size` at least 1.
    explicit WorkQueue(std::uint32_t size);

    // Submitters; async-signal-safe. False: `limit` descriptors are in the queue.
    bool put(const dsa::Descriptor& descriptor, std::uint64_t now_ns, std::uint32_t limit) noexcept;
    std::uint32_t occupancy() const noexcept { return occupancy_.load(std::memory_order_relaxed); }

    // Engines. False: nothing to take.
    bool take(Entry& entry);
    // The descriptor at `position` has been done, whether or not it was answered.
    void finish(std::uint64_t position);
    // Everything before `position` has been done.
    bool finished_before(std::uint64_t position) const;

  private:
    struct Slot {
        // position p: free for the p-th descriptor; p + 1: holds it (release and acquire).
        std::atomic<std::uint64_t> turn{0};
        dsa::Descriptor descriptor;
        std::uint64_t submitted_ns = 0;
    };

    const std::uint64_t slots_;  // a power of two
    std::unique_ptr<Slot[]> ring_;
    std::atomic<std::uint32_t> occupancy_{0};
    std::atomic<std::uint64_t> tail_{0};

    mutable std::mutex mutex_;  // engines only
    std::uint64_t head_ = 0;    // the next position to take; guarded by mutex_
    // Of the positions from first_unfinished_ on that were taken: is it done? Guarded by mutex_.
    std::deque<bool> done_;
    std::uint64_t first_unfinished_ = 0;
};

}  // namespace migrate::accel::softdsa
