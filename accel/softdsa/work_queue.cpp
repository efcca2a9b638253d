// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/work_queue.hpp"

#include <bit>

namespace migrate::accel::softdsa {
namespace {

constexpr std::size_t kFirstUnfinished = 1024;  // a power of two

}  // namespace

WorkQueue::WorkQueue(std::uint32_t size)
    : slots_(std::bit_ceil(std::uint64_t{size})),
      ring_(std::make_unique<Slot[]>(slots_)),
      done_(kFirstUnfinished) {
    for (std::uint64_t i = 0; i < slots_; ++i) ring_[i].turn.store(i, std::memory_order_relaxed);
}

void WorkQueue::put(const dsa::Descriptor& descriptor, std::uint64_t now_ns) noexcept {
    const std::uint64_t position = tail_.fetch_add(1, std::memory_order_relaxed);
    Slot& slot = ring_[position % slots_];
    slot.descriptor = descriptor;
    slot.submitted_ns = now_ns;
    slot.turn.store(position + 1, std::memory_order_release);
}

bool WorkQueue::take(Entry& entry) {
    const MutexLock lock(mutex_);
    Slot& slot = ring_[head_ % slots_];
    if (slot.turn.load(std::memory_order_acquire) != head_ + 1) return false;
    const std::uint64_t position = begin_next();
    entry = {slot.descriptor, slot.submitted_ns, position};
    slot.turn.store(position + slots_, std::memory_order_release);
    return true;
}

std::uint64_t WorkQueue::pass() {
    const MutexLock lock(mutex_);
    return begin_next();
}

std::uint64_t WorkQueue::begin_next() {
    if (head_ - first_unfinished_ == done_.size()) {
        std::vector<bool> larger(2 * done_.size());
        for (std::uint64_t i = first_unfinished_; i < head_; ++i)
            larger[i % larger.size()] = done_[i % done_.size()];
        done_.swap(larger);
    }
    done_[head_ % done_.size()] = false;
    return head_++;
}

void WorkQueue::finish(std::uint64_t position) {
    const MutexLock lock(mutex_);
    done_[position % done_.size()] = true;
    while (first_unfinished_ < head_ && done_[first_unfinished_ % done_.size()])
        ++first_unfinished_;
}

bool WorkQueue::finished_before(std::uint64_t position) const {
    const MutexLock lock(mutex_);
    return first_unfinished_ >= position;
}

}  // namespace migrate::accel::softdsa
