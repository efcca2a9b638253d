// SPDX-License-Identifier: Apache-2.0
// The built-in guest: threads that write memory at a set rate, so that every page can be checked
// afterwards, on any host. Invariant: the expected content of memory follows from state() alone.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.hpp"
#include "base/thread.hpp"
#include "guest/guest.hpp"
#include "guest/run_gate.hpp"
#include "guest/vcpu.hpp"
#include "guest/workload_state.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::guest {

inline constexpr std::string_view kWorkloadKind = "workload";

class Workload final : public Guest {
  public:
    // Starts paused. `memory` has the spec's size, is page-aligned and holds the content that
    // `state` describes. `source`, if not null, is the source of that memory; it lets check() skip
    // pages that were never populated. Both outlive the workload.
    static Result<std::unique_ptr<Workload>> create(const WorkloadState& state,
                                                    std::span<std::byte> memory,
                                                    const memory::PageSource* source);
    ~Workload() override;

    std::string_view kind() const override { return kWorkloadKind; }
    bool running() const override;
    Status pause() override;
    Status resume() override;
    Status throttle(unsigned percent) override;
    Result<std::string> save_state() override;
    Activity activity() const override;
    Status check() override;

  private:
    Workload(const WorkloadState& state, std::span<std::byte> memory,
             const memory::PageSource* source);
    Status start_threads();
    WorkloadState state() const;
    std::chrono::nanoseconds run_time() const REQUIRES(mutex_);

    WorkloadSpec spec_;
    std::span<std::byte> memory_;
    const memory::PageSource* source_;
    std::chrono::microseconds longest_gap_before_;  // over all other hosts
    std::atomic<unsigned> throttle_percent_{0};     // relaxed: the vCPUs follow within a slice
    mutable Mutex mutex_;
    bool running_ GUARDED_BY(mutex_) = false;
    std::chrono::nanoseconds ran_ GUARDED_BY(mutex_);  // run time up to the last pause
    Clock::time_point resumed_at_ GUARDED_BY(mutex_);  // valid if running_
    RunGate gate_;                                     // guards itself
    std::vector<std::unique_ptr<Vcpu>> vcpus_;         // constant after construction
    std::vector<Thread> threads_;
};

// Writes into `memory` the content that the guest has before its first write.
Status fill_memory(const WorkloadSpec& spec, std::span<std::byte> memory);

}  // namespace migrate::guest
