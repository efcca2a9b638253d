// SPDX-License-Identifier: Apache-2.0
// An engine: takes descriptors, executes them, and answers, in a thread of its own or in one that
// submits. Invariant: it writes no record between the stop (or a halt) and the end of the thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "accel/softdsa/device.hpp"
#include "accel/softdsa/doorbell.hpp"
#include "accel/softdsa/fault_injector.hpp"
#include "accel/softdsa/held_answers.hpp"
#include "accel/softdsa/operations.hpp"
#include "accel/softdsa/page_checks.hpp"
#include "accel/softdsa/work_queue.hpp"

namespace migrate::accel::softdsa {

// See QueueCounters; each counter only grows.
struct QueueCounts {
    std::atomic<std::uint64_t> accepted{0}, refused{0}, lost{0}, batches{0}, work{0}, bytes{0},
        records{0}, unwritten{0}, errors{0}, injected{0}, device_time_ns{0};
};

inline void count(std::atomic<std::uint64_t>& counter, std::uint64_t n = 1) noexcept {
    counter.fetch_add(n, std::memory_order_relaxed);
}

// The state that does not survive a fork: the child gets a new one.
struct Wiring {
    explicit Wiring(const DeviceConfig& config);

    // The doorbell of the engines of a group, at SharedGroup::index().
    Doorbell& doorbell(std::size_t group) { return doorbells[group]; }
    void ring_all();

    std::vector<std::unique_ptr<WorkQueue>> queues;
    std::array<Doorbell, kMostGroups + 1> doorbells;
    std::atomic<std::uint32_t> groups_version{0};  // when ring_all() was called last
    HeldAnswers held;
    std::atomic<bool> stopping{false};
};

// The state that all engines share. `wiring` is replaced only while no engine runs.
struct DeviceState {
    DeviceState(const DeviceConfig& configuration, const Sharing& share);

    // Notes that a descriptor was answered, or never will be.
    void finish(std::size_t queue, std::uint64_t position);

    const DeviceConfig config;
    const Sharing sharing;
    std::unique_ptr<SharedDevice> own;  // without sharing
    SharedDevice& shared;
    std::size_t place;  // of this process
    FaultInjector faults;
    std::vector<QueueCounts> counts;  // one per queue
    std::unique_ptr<Wiring> wiring;
};

class Engine {
  public:
    // `number` is that of an engine of the device. One without a queue to serve (kMostEngines) only
    // gives the answers that submitting threads hold.
    Engine(DeviceState& state, std::size_t number);
    void run();
    // Executes a descriptor that was not in the queue, and gives answers that are due.
    void execute(const WorkQueue::Entry& entry, std::size_t queue);

  private:
    // One descriptor of a queue while it is executed.
    struct Task {
        const WorkQueue::Entry& entry;
        const QueueConfig queue;
        Answer answer;
        bool holds = false;       // its records wait until answer.due_ns
        Service service;          // modelled device time so far
        std::uint64_t delay = 0;  // ns, from the fault plan
        bool shuffles = false;    // its children run in random order
    };

    std::size_t group() const;
    bool take_one(std::size_t group);
    bool answer_one();
    bool free_room();
    void drop_all();
    void process(std::size_t queue, const WorkQueue::Entry& entry);
    void finish(Task& task);
    void hold(Task& task);
    void batch(Task& task);
    Outcome children(Task& task, std::size_t readable);
    // Executes and answers the first descriptors of the list if they are page checks; returns their
    // number. Sets the outcome of their batch if an answer could not be written.
    std::size_t check_pages(Task& task, std::span<const dsa::Descriptor> list, Outcome& batch);
    bool write_all(std::size_t queue);
    void shuffle(const Task& task, std::size_t readable);
    Outcome work(Task& task, const dsa::Descriptor& descriptor, Place place,
                 std::uint8_t forced_status);
    Outcome carry_out(const Task& task, const dsa::Descriptor& descriptor, Place place,
                      std::uint8_t forced_status);
    bool answer(Task& task, const dsa::Descriptor& descriptor, const Outcome& outcome);
    bool write(std::size_t queue, const CompletionWrite& record);
    bool ended() const;

    DeviceState& state_;
    Wiring& wiring_;
    const std::size_t number_;
    bool answers_;             // gives the answers that are held, until there are none
    std::size_t next_;         // the queue to look at next
    std::uint32_t taken_ = 0;  // descriptors taken from it since the engine turned to it
    Operator operator_;
    PageChecks page_checks_;
    std::vector<CompletionWrite> writes_;  // records of children that are written together
    std::vector<dsa::Descriptor> list_;    // descriptor list of a batch
    std::vector<std::size_t> order_;       // in which its children run, if that is random
};

}  // namespace migrate::accel::softdsa
