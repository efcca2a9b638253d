// SPDX-License-Identifier: Apache-2.0
// Descriptors of one process between submitters and engines, in order. Invariant: put() is
// wait-free, whatever it interrupts: its caller has taken room (SharedQueue::take_room()), and
// engines free a slot before they give its room back, so that a slot is always free.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "accel/dsa/descriptor.hpp"
#include "base/mutex.hpp"

namespace migrate::accel::softdsa {

class WorkQueue {
  public:
    struct Entry {
        dsa::Descriptor descriptor;
        std::uint64_t submitted_ns = 0;
        std::uint64_t position = 0;  // number among all descriptors of the queue
    };

    // `size` is at least 1: the most descriptors for which there is ever room.
    explicit WorkQueue(std::uint32_t size);

    // For submitters; async-signal-safe.
    void put(const dsa::Descriptor& descriptor, std::uint64_t now_ns) noexcept;

    // For engines. Returns false if there is nothing to take.
    bool take(Entry& entry);
    // Returns the position of a descriptor that is executed without having been in the queue.
    std::uint64_t pass();
    // Notes that the descriptor at `position` has been executed, whether or not it was answered.
    void finish(std::uint64_t position);
    // Returns true if everything before `position` has been executed.
    bool finished_before(std::uint64_t position) const;

  private:
    std::uint64_t begin_next() REQUIRES(mutex_);

    struct Slot {
        // Value p: free for the descriptor at position p; p + 1: holds it (release and acquire).
        std::atomic<std::uint64_t> turn{0};
        dsa::Descriptor descriptor;
        std::uint64_t submitted_ns = 0;
    };

    const std::uint64_t slots_;  // a power of two
    std::unique_ptr<Slot[]> ring_;
    std::atomic<std::uint64_t> tail_{0};

    mutable Mutex mutex_;                        // used by engines only
    std::uint64_t head_ GUARDED_BY(mutex_) = 0;  // the next position to take
    // For each taken position from first_unfinished_ on, at its number modulo the size, which is a
    // power of two: true if it is done. It grows only while answers are held, so that no memory is
    // allocated in a signal handler otherwise.
    std::vector<bool> done_ GUARDED_BY(mutex_);
    std::uint64_t first_unfinished_ GUARDED_BY(mutex_) = 0;
};

}  // namespace migrate::accel::softdsa
