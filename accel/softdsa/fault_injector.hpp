// A fault plan at work: counts events, and says which of them go wrong, and how.
// Invariant: lock-free and async-signal-safe, since submitters ask too; what happens at an event
// depends on the plan, the word and the event's number alone.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "accel/softdsa/fault_plan.hpp"

namespace migrate::accel::softdsa {

struct Fault {
    std::uint64_t value = 0;   // the rule's; kAnyValue: choose one
    std::uint64_t random = 0;  // to choose by
};

class FaultInjector {
  public:
    explicit FaultInjector(const FaultPlan& plan);

    // The next event of this kind in this queue: what goes wrong, if anything.
    std::optional<Fault> next(FaultKind kind, std::size_t queue) noexcept;
    bool happens(FaultKind kind, std::size_t queue) noexcept {
        return next(kind, queue).has_value();
    }
    // A submission finds the queue full.
    bool full(std::size_t queue) noexcept;

  private:
    struct State {
        FaultRule rule;
        std::atomic<std::uint64_t> events{0};
        std::atomic<std::uint64_t> left{0};  // refusals of kFull still to come
    };
    bool concerns(const State& state, FaultKind kind, std::size_t queue) const noexcept;
    std::uint64_t random(const State& state, std::uint64_t event) const noexcept;
    bool hits(const State& state, std::uint64_t event) const noexcept;

    std::uint64_t seed_;
    std::size_t count_;
    std::unique_ptr<State[]> states_;
};

}  // namespace migrate::accel::softdsa
