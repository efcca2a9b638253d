#include "accel/dsa/work_queue.hpp"

#include <algorithm>

#include "base/log.hpp"

namespace migrate::accel::dsa {

namespace {

// Limits the memory that is left to a device for good: a batch has about 25 KB.
constexpr unsigned kMaxLosses = 64;

}  // namespace

WorkQueue::WorkQueue(std::unique_ptr<Portal> portal)
    : portal_(std::move(portal)), room_(portal_->limits().entries) {}

void WorkQueue::disable(std::string_view reason) {
    if (alive_.exchange(false, std::memory_order_acq_rel)) {
        log::warning("{} {}; it is not used any more", name(), reason);
    }
}

std::size_t WorkQueue::submit(std::span<const Descriptor> descriptors) {
    if (!alive()) return 0;
    const bool dedicated = portal_->limits().mode == QueueMode::kDedicated;
    if (dedicated) {
        std::size_t room = room_.load(std::memory_order_relaxed);
        std::size_t taken = 0;
        do {
            taken = std::min(room, descriptors.size());
        } while (!room_.compare_exchange_weak(room, room - taken, std::memory_order_acq_rel));
        descriptors = descriptors.first(taken);
    }
    const std::size_t taken = descriptors.empty() ? 0 : portal_->submit(descriptors);
    if (dedicated && taken < descriptors.size()) {
        room_.fetch_add(descriptors.size() - taken, std::memory_order_release);
    }
    return taken;
}

void WorkQueue::answered(std::size_t count) {
    if (portal_->limits().mode == QueueMode::kDedicated) {
        room_.fetch_add(count, std::memory_order_release);
    }
}

void WorkQueue::lost_memory() {
    if (losses_.fetch_add(1, std::memory_order_relaxed) + 1 == kMaxLosses) {
        disable(fmt::format("failed to write its answers {} times", kMaxLosses));
    }
}

}  // namespace migrate::accel::dsa
