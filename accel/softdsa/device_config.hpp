// The numbers that describe a software device.
#pragma once

#include <cstdint>
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
};

// Determines when a completion becomes visible: `latency_ns` after the device has executed the
// descriptor. Execution takes the larger of descriptor_ns and the time for its bytes at the given
// rate; all engines together execute one descriptor at a time.
struct Timing {
    bool enabled = false;
    std::uint64_t latency_ns = 700;
    std::uint64_t descriptor_ns = 40;
    std::uint64_t bytes_per_second = 30'000'000'000;
};

struct DeviceConfig {
    std::vector<QueueConfig> queues = std::vector<QueueConfig>(1);
    // Threads; each serves every queue. 0: a submission returns when its descriptor is executed,
    // and answered unless timing, the fault plan or a drain delays the answer; then a thread gives
    // it.
    std::uint32_t engines = 1;
    Timing timing;
    FaultPlan faults;
};

}  // namespace migrate::accel::softdsa
