// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/shared_device.hpp"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <string_view>

#include "accel/softdsa/doorbell.hpp"
#include "accel/softdsa/errno_kept.hpp"
#include "base/raw_syscall.hpp"

namespace migrate::accel::softdsa {
namespace {

constexpr std::uint64_t kReapIntervalNs = 10'000'000;
// Longest wait before a drain looks for processes that have ended.
constexpr std::uint64_t kDrainStepNs = 50'000'000;
constexpr pid_t kBeingFreed = -1;  // the owner of a place that reap() clears

template <typename Counters>
std::uint32_t sum_of(const Counters& counters) noexcept {
    std::uint32_t sum = 0;
    for (const auto& counter : counters) sum += counter.load();
    return sum;
}

// Returns true if the process waits for its parent only: it has no threads any more.
bool is_zombie(pid_t process) noexcept {
    std::array<char, 32> path{"/proc/"};
    std::size_t at = 6;
    for (pid_t left = process; left > 0; left /= 10) ++at;
    constexpr std::string_view kFile = "/stat";
    std::copy(kFile.begin(), kFile.end(), path.begin() + static_cast<std::ptrdiff_t>(at));
    for (pid_t left = process; left > 0; left /= 10)
        path[--at] = static_cast<char>('0' + left % 10);
    const long fd = raw_syscall(SYS_openat, AT_FDCWD, path.data(), O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return false;
    std::array<char, 512> text{};
    const long bytes = raw_syscall(SYS_read, fd, text.data(), text.size());
    raw_syscall(SYS_close, fd);
    // "PID (NAME) STATE ...": the name may have any characters.
    const std::string_view stat(text.data(), bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
    const std::size_t end = stat.rfind(") ");
    return end != std::string_view::npos && end + 2 < stat.size() &&
           (stat[end + 2] == 'Z' || stat[end + 2] == 'X');
}

bool has_ended(pid_t process) noexcept {
    const ErrnoKept kept;
    const bool gone = raw_syscall(SYS_kill, process, 0) != 0 && errno == ESRCH;
    return gone || is_zombie(process);
}

}  // namespace

void SharedQueue::configure(const QueueConfig& config) noexcept {
    mode_.store(config.mode == dsa::QueueMode::kDedicated ? 1 : 0);
    size_.store(config.size);
    threshold_.store(config.threshold);
    max_batch_.store(config.max_batch);
    max_transfer_.store(config.max_transfer);
    block_on_fault_.store(config.block_on_fault ? 1 : 0);
    operations_.store(config.operations);
    write_retries_.store(config.write_retries);
    refuse_batch_by_write_.store(config.refuse_batch_by_write ? 1 : 0);
    priority_.store(config.priority);
}

QueueConfig SharedQueue::config() const noexcept {
    constexpr auto kRelaxed = std::memory_order_relaxed;
    return {.mode = mode(),
            .size = size_.load(kRelaxed),
            .threshold = threshold_.load(kRelaxed),
            .max_batch = max_batch_.load(kRelaxed),
            .max_transfer = max_transfer_.load(kRelaxed),
            .block_on_fault = block_on_fault_.load(kRelaxed) != 0,
            .operations = operations_.load(kRelaxed),
            .write_retries = write_retries_.load(kRelaxed),
            .refuse_batch_by_write = refuse_batch_by_write_.load(kRelaxed) != 0,
            .priority = priority()};
}

dsa::QueueMode SharedQueue::mode() const noexcept {
    return mode_.load(std::memory_order_relaxed) != 0 ? dsa::QueueMode::kDedicated
                                                      : dsa::QueueMode::kShared;
}

std::uint32_t SharedQueue::entries() const noexcept {
    const std::uint32_t threshold = threshold_.load(std::memory_order_relaxed);
    const bool limited = mode() == dsa::QueueMode::kShared && threshold != 0;
    return limited ? threshold : size_.load(std::memory_order_relaxed);
}

bool SharedQueue::begin(std::size_t place) noexcept {
    // Sequentially consistent, like disable() and outstanding(): either this sees that the queue is
    // disabled, or await_drained() sees this descriptor.
    outstanding_[place].fetch_add(1);
    if (enabled()) return true;
    end(place);
    return false;
}

void SharedQueue::end(std::size_t place) noexcept {
    outstanding_[place].fetch_sub(1);
    if (enabled()) return;
    drain_steps_.fetch_add(1);
    const ErrnoKept kept;
    raw_syscall(SYS_futex, &drain_steps_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

bool SharedQueue::take_room(std::size_t place) noexcept {
    const std::uint32_t limit = entries();
    Counter& own = in_queue_[place];
    std::uint32_t before = own.load(std::memory_order_relaxed);
    do {
        if (before + in_queue_of_others(place) >= limit) return false;
        // Also acquire: the engine that released this room has freed its slot.
    } while (!own.compare_exchange_weak(before, before + 1));
    // The last one of several processes that do this at the same time sees all others here.
    if (before + 1 + in_queue_of_others(place) <= limit) return true;
    give_room(place);
    return false;
}

std::uint32_t SharedQueue::in_queue_of_others(std::size_t place) const noexcept {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < in_queue_.size(); ++i)
        if (i != place) sum += in_queue_[i].load();
    return sum;
}

void SharedQueue::give_room(std::size_t place) noexcept {
    in_queue_[place].fetch_sub(1, std::memory_order_release);
}

void SharedQueue::forget(std::size_t place) noexcept {
    in_queue_[place].store(0);
    outstanding_[place].store(0);
}

std::uint32_t SharedQueue::occupancy() const noexcept { return sum_of(in_queue_); }

std::uint32_t SharedQueue::outstanding() const noexcept { return sum_of(outstanding_); }

void SharedDevice::set_groups(const Groups& groups) noexcept {
    for (std::size_t i = 0; i < queues.size(); ++i) queues[i].group.set(groups.queues[i]);
    for (std::size_t i = 0; i < engines.size(); ++i) engines[i].set(groups.engines[i]);
    version_.fetch_add(1);
}

EngineSet SharedDevice::engines_of(std::size_t queue) const noexcept {
    const std::size_t group = queues[queue].group.index();
    EngineSet set = 0;
    for (std::size_t i = 0; group != SharedGroup::kNone && i < engines.size(); ++i)
        if (engines[i].index() == group) set |= EngineSet{1} << i;
    return set;
}

std::size_t SharedDevices::join() noexcept {
    reap();
    const auto own = static_cast<pid_t>(raw_syscall(SYS_getpid));
    // A program that this process was before an exec() may have left its place.
    for (std::size_t i = 0; i < owners_.size(); ++i)
        if (owners_[i].load() == own && take_place(i, own, own)) return i;
    for (std::size_t i = 0; i < owners_.size(); ++i)
        if (take_place(i, 0, own)) return i;
    return kMostProcesses;
}

bool SharedDevices::take_place(std::size_t place, pid_t expected, pid_t own) noexcept {
    if (!owners_[place].compare_exchange_strong(expected, own)) return false;
    forget(place);
    return true;
}

void SharedDevices::forget(std::size_t place) noexcept {
    for (SharedDevice& device : devices_)
        for (SharedQueue& queue : device.queues) queue.forget(place);
}

void SharedDevices::reap() noexcept {
    const std::uint64_t now = now_ns();
    std::uint64_t last = reaped_ns_.load();
    if (now - last < kReapIntervalNs || !reaped_ns_.compare_exchange_strong(last, now)) return;
    for (std::size_t i = 0; i < owners_.size(); ++i) {
        pid_t owner = owners_[i].load();
        if (owner <= 0 || !has_ended(owner)) continue;
        if (!owners_[i].compare_exchange_strong(owner, kBeingFreed)) continue;
        forget(i);
        owners_[i].store(0);
    }
}

bool SharedDevices::await_drained(std::size_t device, std::size_t queue,
                                  std::uint64_t limit_ns) noexcept {
    SharedDevice& shared = devices_[device];
    const std::atomic<std::uint32_t>& steps = shared.queues[queue].drain_steps();
    const std::uint64_t deadline = now_ns() + limit_ns;
    while (true) {
        const std::uint32_t seen = steps.load();
        if (shared.queues[queue].outstanding() == 0) return true;
        const std::uint64_t now = now_ns();
        if (shared.halted.load() || now >= deadline) return false;
        const std::uint64_t left = std::min(deadline - now, kDrainStepNs);
        const timespec wait{.tv_sec = 0, .tv_nsec = static_cast<long>(left)};
        raw_syscall(SYS_futex, &steps, FUTEX_WAIT, seen, &wait, nullptr, 0);
        reap();
    }
}

}  // namespace migrate::accel::softdsa
