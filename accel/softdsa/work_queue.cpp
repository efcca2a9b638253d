#include "accel/softdsa/work_queue.hpp"

#include <bit>

namespace migrate::accel::softdsa {

WorkQueue::WorkQueue(std::uint32_t size)
    : slots_(std::bit_ceil(std::uint64_t{size})), ring_(std::make_unique<Slot[]>(slots_)) {
    for (std::uint64_t i = 0; i < slots_; ++i) ring_[i].turn.store(i, std::memory_order_relaxed);
}

bool WorkQueue::put(const dsa::Descriptor& descriptor, std::uint64_t now_ns,
                    std::uint32_t limit) noexcept {
    std::uint32_t before = occupancy_.load(std::memory_order_relaxed);
    do {
        if (before >= limit) return false;
        // Acquire: the engine that released this room has freed its slot.
    } while (!occupancy_.compare_exchange_weak(before, before + 1, std::memory_order_acquire,
                                               std::memory_order_relaxed));
    const std::uint64_t position = tail_.fetch_add(1, std::memory_order_relaxed);
    Slot& slot = ring_[position % slots_];
    slot.descriptor = descriptor;
    slot.submitted_ns = now_ns;
    slot.turn.store(position + 1, std::memory_order_release);
    return true;
}

bool WorkQueue::take(Entry& entry) {
    const MutexLock lock(mutex_);
    Slot& slot = ring_[head_ % slots_];
    if (slot.turn.load(std::memory_order_acquire) != head_ + 1) return false;
    entry = {slot.descriptor, slot.submitted_ns, head_};
    slot.turn.store(head_ + slots_, std::memory_order_release);
    ++head_;
    done_.push_back(false);
    occupancy_.fetch_sub(1, std::memory_order_release);
    return true;
}

void WorkQueue::finish(std::uint64_t position) {
    const MutexLock lock(mutex_);
    done_[position - first_unfinished_] = true;
    while (!done_.empty() && done_.front()) {
        done_.pop_front();
        ++first_unfinished_;
    }
}

bool WorkQueue::finished_before(std::uint64_t position) const {
    const MutexLock lock(mutex_);
    return first_unfinished_ >= position;
}

}  // namespace migrate::accel::softdsa
