// SPDX-License-Identifier: Apache-2.0
// Executes a fault plan: counts events, and decides which of them fail, and how. Invariant:
// lock-free and async-signal-safe, because submitters call it too; the result for an event depends
// only on the plan, the word and the event's number.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "accel/softdsa/fault_plan.hpp"

namespace migrate::accel::softdsa {

struct Fault {
    std::uint64_t value = 0;   // value of the rule; kAnyValue: choose one
    std::uint64_t random = 0;  // random number for that choice
};

class FaultInjector {
  public:
    explicit FaultInjector(const FaultPlan& plan);

    // True if nothing ever fails.
    bool empty() const noexcept { return count_ == 0; }

    // Counts the next event of this kind in this queue; returns its fault, if any.
    std::optional<Fault> next(FaultKind kind, std::size_t queue) noexcept;
    bool happens(FaultKind kind, std::size_t queue) noexcept {
        return next(kind, queue).has_value();
    }
    // Counts a submission; returns true if it must find the queue full.
    bool full(std::size_t queue) noexcept;

  private:
    struct State {
        FaultRule rule;
        std::atomic<std::uint64_t> events{0};
        std::atomic<std::uint64_t> left{0};  // refusals of kFull that remain
    };
    bool concerns(const State& state, FaultKind kind, std::size_t queue) const noexcept;
    std::uint64_t random(const State& state, std::uint64_t event) const noexcept;
    bool hits(const State& state, std::uint64_t event) const noexcept;

    std::uint64_t seed_;
    std::size_t count_;
    std::unique_ptr<State[]> states_;
};

}  // namespace migrate::accel::softdsa
