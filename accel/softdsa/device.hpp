// A DSA device in software: work queues that take descriptors, and engine threads that execute them
// on the memory of this process. Invariants: the submitting functions (enqcmd, movdir64b, write)
// are async-signal-safe and never wait, unless the device has no engines: they execute the
// descriptor then, and no signal handler may interrupt them that submits, too; the caller's memory
// is accessed only by system calls that return EFAULT, so no descriptor can crash the process;
// nothing is written once the destructor has begun to return. Needs only the C++ standard library,
// because a preloaded library contains this code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "accel/dsa/descriptor.hpp"
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

// The defaults are those of the Linux driver and of a Sapphire Rapids device.
struct QueueConfig {
    dsa::QueueMode mode = dsa::QueueMode::kShared;
    std::uint32_t size = 128;                // descriptors, 1 to 4096
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

// Counters of one queue since start(); each is exact once nothing is outstanding.
struct QueueCounters {
    std::uint64_t accepted = 0;   // descriptors put into the queue
    std::uint64_t refused = 0;    // attempts that found a shared queue full (ZF=1)
    std::uint64_t lost = 0;       // written to a full dedicated queue, or by the wrong instruction
    std::uint64_t batches = 0;    // taken by an engine
    std::uint64_t work = 0;       // single descriptors and the children of batches
    std::uint64_t bytes = 0;      // bytes read or written by work
    std::uint64_t records = 0;    // completion records written
    std::uint64_t unwritten = 0;  // records that were due but not written: bad address, drop, halt
    std::uint64_t errors = 0;     // statuses other than success and false predicate
    std::uint64_t injected = 0;   // faults of the plan that happened
    std::uint64_t device_time_ns = 0;  // according to Timing; counted even if it is disabled
};

class Device {
  public:
    // The configuration's numbers must be in their ranges; otherwise it aborts.
    explicit Device(const DeviceConfig& config);
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    ~Device();

    // Starts the engines, once. Returns 0, or the errno of the missing resource (a thread, or the
    // right to process_vm_readv on this process). Not async-signal-safe. Earlier submissions wait;
    // without engines they find the queue full.
    int start();
    // Call it in the child of a fork before anything else on this object. Outstanding work stays
    // with the parent; the queues are empty, the engines run again, and the counters continue.
    // Returns the same as start().
    int restart_after_fork();

    std::size_t queue_count() const;
    const QueueConfig& queue(std::size_t index) const;
    // Returns the size of a dedicated queue, or the threshold of a shared one.
    std::uint32_t entries(std::size_t index) const;

    // Returns true if the device has no engines.
    bool works_in_submitter() const noexcept;

    // ENQCMD: returns true if the queue took it (ZF=0). A dedicated queue takes nothing this way.
    bool enqcmd(std::size_t queue, const dsa::Descriptor& descriptor) noexcept;
    // MOVDIR64B: a descriptor for a full queue or for a shared one is lost (and counted).
    void movdir64b(std::size_t queue, const dsa::Descriptor& descriptor) noexcept;
    // write(2) on the queue's node with an array of descriptors at any address of this process.
    // Returns the bytes taken, or the negative errno of the first descriptor: EAGAIN (full after
    // write_retries), EINVAL (a refused batch, a record address that is not 32-byte aligned),
    // EFAULT.
    std::ptrdiff_t write(std::size_t queue, const void* descriptors, std::size_t bytes) noexcept;

    // Return the fault that the plan has for the next open() and mmap() of the queue's node: 0 or
    // an errno. Each call is one event. Async-signal-safe.
    int open_error(std::size_t queue) noexcept;
    int map_error(std::size_t queue) noexcept;

    // Returns true if the plan has halted the device: it takes nothing any more (the state in sysfs
    // would be disabled).
    bool halted() const noexcept;
    // Returns the number of descriptors in the queue that no engine has taken yet.
    std::uint32_t occupancy(std::size_t queue) const noexcept;
    QueueCounters counters(std::size_t queue) const;

  private:
    struct Implementation;
    bool put(std::size_t queue, const dsa::Descriptor& descriptor) noexcept;
    int write_one(std::size_t queue, std::uint64_t address) noexcept;
    int planned_errno(FaultKind kind, std::size_t queue) noexcept;

    std::unique_ptr<Implementation> implementation_;
};

}  // namespace migrate::accel::softdsa
