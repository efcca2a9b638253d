// SPDX-License-Identifier: Apache-2.0
// A DSA device in software: work queues that take descriptors, and engine threads that execute them
// on the memory of this process. Several processes may share a device: each executes its own
// descriptors, and the queues' room and the modelled device's time are divided among all of them.
// Invariants: the submitting functions (enqcmd, movdir64b, write)
// are async-signal-safe and never wait, unless the device has no engines: they execute the
// descriptor then, and no signal handler may interrupt them that submits, too; the caller's memory
// is accessed only by system calls that return EFAULT, so no descriptor can crash the process;
// nothing is written once the destructor has begun to return. Needs only the C++ standard library,
// because a preloaded library contains this code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "accel/dsa/descriptor.hpp"
#include "accel/softdsa/device_config.hpp"
#include "accel/softdsa/shared_device.hpp"

namespace migrate::accel::softdsa {

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

// The place of this process at a device that several processes share; they have the same
// DeviceConfig.
struct Sharing {
    SharedDevices* devices = nullptr;  // null: the device belongs to this process alone
    std::size_t index = 0;             // of the device
    std::size_t place = 0;             // see SharedDevices::join()
};

class Device {
  public:
    // The configuration's numbers must be in their ranges; otherwise it aborts. Without sharing,
    // all queues are enabled. With it, the shared part says which are and how they are configured,
    // and config.queues has the largest size and batch that each may get.
    explicit Device(const DeviceConfig& config, const Sharing& sharing = {});
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    ~Device();

    // Starts the engines, once. Returns 0, or the errno of the missing resource (a thread, or the
    // right to process_vm_readv on this process). Not async-signal-safe. Earlier submissions wait;
    // without engines they find the queue full.
    int start();
    // Call it in the child of a fork before anything else on this object, with the child's own
    // place. Outstanding work stays with the parent; the queues are empty, the engines run again,
    // and the counters continue. Returns the same as start().
    int restart_after_fork(std::size_t place = 0);

    std::size_t queue_count() const;
    // Return the present configuration of a queue, and its size (dedicated) or threshold (shared).
    QueueConfig queue(std::size_t index) const;
    std::uint32_t entries(std::size_t index) const;

    // Returns true if the device has no engines.
    bool works_in_submitter() const noexcept;

    // ENQCMD: returns true if the queue took it (ZF=0). A dedicated queue takes nothing this way,
    // and a disabled one nothing in any way.
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
    // Returns the number of descriptors in the queue that no engine has begun, of all processes.
    std::uint32_t occupancy(std::size_t queue) const noexcept;
    QueueCounters counters(std::size_t queue) const;

  private:
    struct Implementation;
    bool put(std::size_t queue, const dsa::Descriptor& descriptor) noexcept;
    bool take_room(std::size_t queue) noexcept;
    int write_one(std::size_t queue, std::uint64_t address) noexcept;
    int planned_errno(FaultKind kind, std::size_t queue) noexcept;

    std::unique_ptr<Implementation> implementation_;
};

}  // namespace migrate::accel::softdsa
