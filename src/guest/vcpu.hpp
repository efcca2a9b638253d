// SPDX-License-Identifier: Apache-2.0
// One vCPU of the workload: writes its pages in the order of its sequence, at its pace. Invariants:
// every write is counted before the thread rests; only its own thread writes the counters.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "guest/pace.hpp"
#include "guest/run_gate.hpp"
#include "guest/workload_state.hpp"
#include "guest/write_sequence.hpp"

namespace migrate::guest {

// Has its own cache line, because the counters change with every write.
class alignas(64) Vcpu {
  public:
    // `memory`, `gate` and `throttle_percent` outlive the vCPU.
    Vcpu(const WorkloadSpec& spec, unsigned index, const VcpuState& state,
         std::span<std::byte> memory, RunGate& gate, const std::atomic<unsigned>& throttle_percent);

    // The thread's body; returns when the gate is stopped.
    void run();

    // Any thread may call these; the values are exact while the gate is closed.
    std::uint64_t writes() const { return writes_.load(std::memory_order_relaxed); }
    std::chrono::nanoseconds longest_gap() const {
        return std::chrono::nanoseconds(longest_gap_ns_.load(std::memory_order_relaxed));
    }
    VcpuState state() const;

  private:
    void write(std::uint64_t number);
    // Notes that a write ended at `now`.
    void wrote(std::uint64_t number, Clock::time_point now);

    WriteSequence sequence_;
    Pace pace_;
    std::uint64_t seed_;
    std::span<std::byte> memory_;
    RunGate& gate_;
    const std::atomic<unsigned>& throttle_percent_;
    // Access is relaxed: the gate's mutex orders it where order matters.
    std::atomic<std::uint64_t> writes_;
    std::atomic<std::int64_t> last_write_ns_;  // on Clock; has no meaning before the first write
    std::atomic<std::int64_t> longest_gap_ns_{0};
};

}  // namespace migrate::guest
