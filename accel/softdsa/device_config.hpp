// SPDX-License-Identifier: Apache-2.0
// The numbers that describe a software device.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "accel/dsa/portal.hpp"
#include "accel/softdsa/fault_plan.hpp"

namespace migrate::accel::softdsa {

// Bit n is set if opcode n is supported (the first two words of op_cap).
inline constexpr std::uint64_t kOperations =
    1ULL << 0x00 | 1ULL << 0x01 | 1ULL << 0x02 | 1ULL << 0x03 | 1ULL << 0x04 | 1ULL << 0x05 |
    1ULL << 0x06 | 1ULL << 0x09 | 1ULL << 0x10 | 1ULL << 0x11 | 1ULL << 0x12 | 1ULL << 0x13 |
    1ULL << 0x14 | 1ULL << 0x15 | 1ULL << 0x20;
// Devices of version 0x200 add these: they create and apply delta records.
inline constexpr std::uint64_t kDeltaOperations = 1ULL << 0x07 | 1ULL << 0x08;

inline constexpr std::uint32_t kMostQueueSize = 4096;  // descriptors
inline constexpr std::size_t kMostQueues = 8;
inline constexpr std::size_t kMostEngines = 16;
inline constexpr std::size_t kMostGroups = 4;

// The defaults are those of the Linux driver and of a Sapphire Rapids device.
struct QueueConfig {
    dsa::QueueMode mode = dsa::QueueMode::kShared;
    std::uint32_t size = 128;                // descriptors, 1 to kMostQueueSize
    std::uint32_t threshold = 0;             // for a shared queue; 0: its size
    std::uint32_t max_batch = 32;            // descriptors; below 2: no batches
    std::uint32_t max_transfer = 2U << 20U;  // bytes, at least 1
    bool block_on_fault = false;             // the flag is allowed
    std::uint64_t operations = kOperations;  // others are refused (op_config)
    std::uint32_t write_retries = 32;        // by write() on a full queue (enqcmds_retries)
    bool refuse_batch_by_write = false;      // as the kernel does for devices of version 0x100
    // An engine takes up to this many descriptors, 1 to 15, before it turns to the group's next
    // queue.
    std::uint32_t priority = 1;
};

// Which engines serve which queues: those of the same group do.
struct Groups {
    using Group = std::optional<std::uint8_t>;  // below kMostGroups; nothing: in no group
    std::array<Group, kMostQueues> queues{};
    std::array<Group, kMostEngines> engines{};

    // All queues, and the first `count` engines, in group 0.
    static Groups together(std::size_t count);
    bool has_engines() const;
    // Returns true if every group that has a queue has an engine, and the other way round.
    bool complete() const;
};

// Determines when a completion becomes visible: `latency_ns` after the device has executed the
// descriptor. An engine executes one descriptor at a time, in the larger of descriptor_ns and the
// time for its bytes at the given rate. The rate is that of the whole device.
struct Timing {
    bool enabled = false;
    std::uint64_t latency_ns = 700;
    std::uint64_t descriptor_ns = 40;
    std::uint64_t bytes_per_second = 30'000'000'000;
};

struct DeviceConfig {
    std::vector<QueueConfig> queues = std::vector<QueueConfig>(1);
    // Threads, one for each engine, up to kMostEngines. 0: a submission returns when its descriptor
    // is executed, and answered unless timing, the fault plan or a drain delays the answer; then a
    // thread gives it.
    std::uint32_t engines = 1;
    // For a device that no other process shares; nothing: all queues and engines are together.
    std::optional<Groups> groups;
    Timing timing;
    FaultPlan faults;
};

}  // namespace migrate::accel::softdsa
