// A DSA device in software: work queues that take descriptors, and engine threads that do them to
// the memory of this process.
// Invariants: what submits (enqcmd, movdir64b, write) is async-signal-safe and waits for nothing;
// no byte of the caller's memory is touched but by system calls that answer EFAULT, so no
// descriptor can crash the process; once the destructor has begun to return, nothing is written.
// Only the C++ standard library is needed: a preloaded library contains this one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "accel/dsa/descriptor.hpp"
#include "accel/dsa/portal.hpp"
#include "accel/softdsa/fault_plan.hpp"

namespace migrate::accel::softdsa {

// Bit n: opcode n is known (the first two words of op_cap).
inline constexpr std::uint64_t kOperations =
    1ULL << 0x00 | 1ULL << 0x01 | 1ULL << 0x02 | 1ULL << 0x03 | 1ULL << 0x04 | 1ULL << 0x05 |
    1ULL << 0x06 | 1ULL << 0x09 | 1ULL << 0x10 | 1ULL << 0x11 | 1ULL << 0x20;

// Defaults: those of the Linux driver and of a Sapphire Rapids device.
struct QueueConfig {
    dsa::QueueMode mode = dsa::QueueMode::kShared;
    std::uint32_t size = 128;                // descriptors, 1 to 4096
    std::uint32_t threshold = 0;             // a shared queue's; 0: its size
    std::uint32_t max_batch = 32;            // descriptors; below 2: no batches
    std::uint32_t max_transfer = 2U << 20U;  // bytes, at least 1
    bool block_on_fault = false;             // the flag is allowed
    std::uint32_t write_retries = 32;        // of write() at a full queue (enqcmds_retries)
    bool refuse_batch_by_write = false;      // as the kernel does for devices of version 0x100
};

// When a completion may be seen: `latency_ns` after the device has done the descriptor, which takes
// the larger of descriptor_ns and its bytes at the given rate, one after the other for all engines.
struct Timing {
    bool enabled = false;
    std::uint64_t latency_ns = 700;
    std::uint64_t descriptor_ns = 40;
    std::uint64_t bytes_per_second = 30'000'000'000;
};

struct DeviceConfig {
    std::vector<QueueConfig> queues = std::vector<QueueConfig>(1);
    std::uint32_t engines = 1;  // threads; each serves every queue
    Timing timing;
    FaultPlan faults;
};

// Of one queue since start(); each is exact once nothing is outstanding.
struct QueueCounters {
    std::uint64_t accepted = 0;   // descriptors put into the queue
    std::uint64_t refused = 0;    // tries that found a shared queue full (ZF=1)
    std::uint64_t lost = 0;       // written to a full dedicated queue, or by the wrong instruction
    std::uint64_t batches = 0;    // taken by an engine
    std::uint64_t work = 0;       // single descriptors and those of batches
    std::uint64_t bytes = 0;      // read or written by work
    std::uint64_t records = 0;    // completion records written
    std::uint64_t unwritten = 0;  // records due that were not: bad address, drop, halt
    std::uint64_t errors = 0;     // statuses other than success and false predicate
    std::uint64_t injected = 0;   // faults of the plan that came about
    std::uint64_t device_time_ns = 0;  // by Timing, counted whether or not it is enabled
};

class Device {
  public:
    // The configuration's numbers are in their ranges (else it aborts).
    explicit Device(const DeviceConfig& config);
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    ~Device();

    // Starts the engines, once: 0, or the errno of what is missing (a thread, or the right to
    // process_vm_readv on this process). Not async-signal-safe. Submissions before it wait.
    int start();
    // In the child of a fork, before anything else of this object: what was outstanding stays the
    // parent's; queues are empty, engines run again, counters go on. As start().
    int restart_after_fork();

    std::size_t queue_count() const;
    const QueueConfig& queue(std::size_t index) const;
    // The size of a dedicated queue, the threshold of a shared one.
    std::uint32_t entries(std::size_t index) const;

    // ENQCMD: true if the queue took it (ZF=0). A dedicated queue takes nothing this way.
    bool enqcmd(std::size_t queue, const dsa::Descriptor& descriptor) noexcept;
    // MOVDIR64B: what a queue has no room for, or a shared queue, is lost (counted).
    void movdir64b(std::size_t queue, const dsa::Descriptor& descriptor) noexcept;
    // write(2) on the queue's node with an array of descriptors at any address of this process:
    // bytes taken, or the negative errno of the first descriptor: EAGAIN (full after
    // write_retries), EINVAL (a batch where refused, a record address not 32-byte aligned), EFAULT.
    std::ptrdiff_t write(std::size_t queue, const void* descriptors, std::size_t bytes) noexcept;

    // What the plan has for the next open() and mmap() of the queue's node: 0 or an errno. Each
    // call is one event. Async-signal-safe.
    int open_error(std::size_t queue) noexcept;
    int map_error(std::size_t queue) noexcept;

    // Halted by the plan: it takes nothing any more (the state in sysfs would be disabled).
    bool halted() const noexcept;
    // Descriptors in the queue that no engine has taken yet.
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
