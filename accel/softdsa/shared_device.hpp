// SPDX-License-Identifier: Apache-2.0
// The part of a software device that all its processes share, in memory that each of them maps:
// which queues are enabled and how they are configured, which engines serve them, what each process
// has in them, and when the modelled device is idle again. Invariants: memory of zeros is a device
// without enabled queues; a process that ends, in whatever way, takes its work with it, because
// each has counters of its own (its place) that others clear; the configuration of a queue changes
// only while it is disabled and nothing of it is outstanding. All functions but await_drained() are
// async-signal-safe.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "accel/softdsa/device_config.hpp"
#include "accel/softdsa/modelled_time.hpp"

namespace migrate::accel::softdsa {

inline constexpr std::size_t kMostDevices = 16;
inline constexpr std::size_t kMostProcesses = 64;

// The group of a queue or of an engine.
class SharedGroup {
  public:
    static constexpr std::size_t kNone = 0;

    void set(const Groups::Group& group) noexcept { index_.store(group ? *group + 1U : kNone); }
    // Returns kNone, or a number from 1 to kMostGroups that is the same for all of a group.
    std::size_t index() const noexcept { return index_.load(); }

  private:
    std::atomic<std::uint32_t> index_{kNone};
};

class SharedQueue {
  public:
    // Only while the queue is disabled and drained.
    void configure(const QueueConfig& config) noexcept;
    QueueConfig config() const noexcept;
    dsa::QueueMode mode() const noexcept;
    // Returns the size of a dedicated queue, or the threshold of a shared one.
    std::uint32_t entries() const noexcept;
    std::uint32_t priority() const noexcept { return priority_.load(std::memory_order_relaxed); }

    void enable() noexcept { enabled_.store(1); }
    // New descriptors are refused from now on.
    void disable() noexcept { enabled_.store(0); }
    bool enabled() const noexcept { return enabled_.load() != 0; }

    // Counts a descriptor of the process as outstanding; returns false if the queue is disabled.
    bool begin(std::size_t place) noexcept;
    // Counts one as answered, or as not accepted after all.
    void end(std::size_t place) noexcept;
    // Takes room for a descriptor; returns false if entries() of all processes are in the queue.
    // Two processes that take the last room at the same time may both be refused.
    bool take_room(std::size_t place) noexcept;
    void give_room(std::size_t place) noexcept;
    // Drops what the process has in the queue.
    void forget(std::size_t place) noexcept;

    // Descriptors of all processes in the queue.
    std::uint32_t occupancy() const noexcept;
    // Descriptors of all processes that are accepted and not answered.
    std::uint32_t outstanding() const noexcept;
    // Number of times that something ended while the queue was disabled. A futex.
    const std::atomic<std::uint32_t>& drain_steps() const noexcept { return drain_steps_; }

    SharedGroup group;

  private:
    std::uint32_t in_queue_of_others(std::size_t place) const noexcept;

    using Counter = std::atomic<std::uint32_t>;

    Counter enabled_{0};
    Counter drain_steps_{0};
    Counter mode_{0};
    Counter size_{0};
    Counter threshold_{0};
    Counter max_batch_{0};
    Counter max_transfer_{0};
    Counter block_on_fault_{0};
    Counter write_retries_{0};
    Counter refuse_batch_by_write_{0};
    Counter priority_{0};
    std::atomic<std::uint64_t> operations_{0};
    std::array<Counter, kMostProcesses> in_queue_{};
    std::array<Counter, kMostProcesses> outstanding_{};
};

struct SharedDevice {
    // Only while all queues are disabled and drained.
    void set_groups(const Groups& groups) noexcept;
    // Number of set_groups() so far. Who finds that it has changed wakes the engines of its
    // process.
    std::uint32_t groups_version() const noexcept { return version_.load(); }
    // Engines that serve the queue.
    EngineSet engines_of(std::size_t queue) const noexcept;

    std::atomic<bool> halted{false};
    ModelledTime time;
    std::array<SharedQueue, kMostQueues> queues{};
    std::array<SharedGroup, kMostEngines> engines{};

  private:
    std::atomic<std::uint32_t> version_{0};
};

// All devices of a namespace, and the processes that use them.
class SharedDevices {
  public:
    SharedDevice& device(std::size_t index) noexcept { return devices_[index]; }

    // Returns the place of this process, which has nothing outstanding yet; kMostProcesses if all
    // places are taken. Call it again in the child of a fork.
    std::size_t join() noexcept;
    // Frees the places of processes that have ended; does nothing if that was done less than 10 ms
    // ago.
    void reap() noexcept;
    // Waits until the disabled queue has nothing outstanding in any process. Returns false if the
    // device halts or `limit_ns` passes first.
    bool await_drained(std::size_t device, std::size_t queue, std::uint64_t limit_ns) noexcept;

    // Set by the process that has configured the queues first.
    std::atomic<bool> ready{false};

  private:
    bool take_place(std::size_t place, pid_t expected, pid_t own) noexcept;
    void forget(std::size_t place) noexcept;

    std::atomic<std::uint64_t> reaped_ns_{0};
    std::array<std::atomic<pid_t>, kMostProcesses> owners_{};  // 0: free
    std::array<SharedDevice, kMostDevices> devices_{};
};

static_assert(std::atomic<bool>::is_always_lock_free &&
              std::atomic<std::uint64_t>::is_always_lock_free &&
              std::atomic<pid_t>::is_always_lock_free);

}  // namespace migrate::accel::softdsa
