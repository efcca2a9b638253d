// SPDX-License-Identifier: Apache-2.0
#include "accel/dsa/work_queue.hpp"

#include <algorithm>
#include <utility>

#include "base/log.hpp"

namespace migrate::accel::dsa {

namespace {

// Limits the memory that is left to a device for good: a batch has about 25 KB.
constexpr unsigned kMaxLosses = 64;

}  // namespace

WorkQueue::WorkQueue(std::unique_ptr<Portal> portal)
    : portal_(std::move(portal)), room_(portal_->limits().entries) {}

void WorkQueue::disable(std::string_view reason) {
    if (!alive_.exchange(false, std::memory_order_acq_rel)) return;
    log::warning("{} {}; it is not used any more", name(), reason);
    const MutexLock lock(mutex_);
    trouble_ = reason;
}

void WorkQueue::timed_out() {
    if (!alive()) return;
    // A dedicated queue that is disabled loses what it is given.
    const std::string why = portal_->why_closed();
    disable(
        fmt::format("did not answer in time (accel-timeout){}{}", why.empty() ? "" : ": ", why));
}

bool WorkQueue::take_trial(Point now) {
    if (!alive() || !left()) return false;
    Point::rep due = trial_at_.load(std::memory_order_acquire);
    if (now.time_since_epoch().count() < due) return false;
    const Point next = now + kTrialInterval;
    return trial_at_.compare_exchange_strong(due, next.time_since_epoch().count());
}

void WorkQueue::refused(std::uint8_t status, std::uint32_t count, Point now) {
    const std::uint32_t before = refusals_.fetch_add(count, std::memory_order_relaxed);
    if (before >= kMaxRefusals || before + count < kMaxRefusals) return;
    leave(fmt::format("refuses its work with status {:#04x}", status), now);
}

void WorkQueue::stayed_full(Point now, bool for_long) {
    const std::uint32_t times = times_full_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (left() || (times < kMaxFull && !for_long)) return;
    const std::string why = portal_->why_closed();
    leave(why.empty() ? "stays full: other programs fill it, or it was disabled"
                      : fmt::format("takes no work: {}", why),
          now);
}

void WorkQueue::leave(std::string reason, Point now) {
    trial_at_.store((now + kTrialInterval).time_since_epoch().count(), std::memory_order_release);
    if (left_.exchange(true, std::memory_order_acq_rel)) return;
    // Only the first time is worth a warning: a queue may be left and used again many times.
    if (counters_.times_left.fetch_add(1, std::memory_order_relaxed) == 0) {
        log::warning("{} {}; its channels use other queues or the CPU until it answers again",
                     name(), reason);
    }
    const MutexLock lock(mutex_);
    trouble_ = std::move(reason);
}

void WorkQueue::answered_well() {
    // Reads first: all channels come here for each answer.
    if (refusals_.load(std::memory_order_relaxed) != 0) {
        refusals_.store(0, std::memory_order_relaxed);
    }
    if (times_full_.load(std::memory_order_relaxed) != 0) {
        times_full_.store(0, std::memory_order_relaxed);
    }
    if (!left() || !left_.exchange(false, std::memory_order_acq_rel)) return;
    if (counters_.times_left.load(std::memory_order_relaxed) == 1) {
        log::info("{} answers again; its channels use it again", name());
    }
}

std::string WorkQueue::trouble() const {
    const MutexLock lock(mutex_);
    return trouble_;
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
