// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/fault_injector.hpp"

#include "base/splitmix64.hpp"

namespace migrate::accel::softdsa {

FaultInjector::FaultInjector(const FaultPlan& plan)
    : seed_(plan.seed),
      count_(plan.rules.size()),
      states_(std::make_unique<State[]>(plan.rules.size())) {
    for (std::size_t i = 0; i < count_; ++i) states_[i].rule = plan.rules[i];
}

bool FaultInjector::concerns(const State& state, FaultKind kind, std::size_t queue) const noexcept {
    return state.rule.kind == kind &&
           (state.rule.queue < 0 || static_cast<std::size_t>(state.rule.queue) == queue);
}

std::uint64_t FaultInjector::random(const State& state, std::uint64_t event) const noexcept {
    const auto rule = static_cast<std::uint64_t>(&state - states_.get());
    return splitmix64(splitmix64(seed_ ^ splitmix64(rule)) + event);
}

bool FaultInjector::hits(const State& state, std::uint64_t event) const noexcept {
    const FaultWhen& when = state.rule.when;
    switch (when.kind) {
        case FaultWhen::Kind::kAlways:
            return true;
        case FaultWhen::Kind::kAt:
            return event == when.count;
        case FaultWhen::Kind::kFrom:
            return event >= when.count;
        case FaultWhen::Kind::kEvery:
            return event % when.count == when.count - 1;
        case FaultWhen::Kind::kChance:
            // Uses the top 53 bits, as many as a double holds.
            return static_cast<double>(random(state, event) >> 11U) * 0x1p-53 < when.chance;
    }
    return false;
}

std::optional<Fault> FaultInjector::next(FaultKind kind, std::size_t queue) noexcept {
    std::optional<Fault> found;
    for (std::size_t i = 0; i < count_; ++i) {
        State& state = states_[i];
        if (!concerns(state, kind, queue)) continue;
        const std::uint64_t event = state.events.fetch_add(1, std::memory_order_relaxed);
        const bool hit =
            kind == FaultKind::kHaltAfter ? event >= state.rule.value : hits(state, event);
        if (hit && !found) found = Fault{state.rule.value, splitmix64(random(state, event))};
    }
    return found;
}

bool FaultInjector::full(std::size_t queue) noexcept {
    bool full = false;
    for (std::size_t i = 0; i < count_; ++i) {
        State& state = states_[i];
        if (!concerns(state, FaultKind::kFull, queue)) continue;
        const std::uint64_t event = state.events.fetch_add(1, std::memory_order_relaxed);
        const bool always = state.rule.when.kind == FaultWhen::Kind::kAlways;
        if (always ? event == 0 : hits(state, event)) {
            state.left.store(state.rule.value, std::memory_order_relaxed);
        }
        std::uint64_t left = state.left.load(std::memory_order_relaxed);
        while (left != 0 && left != kAnyValue &&
               !state.left.compare_exchange_weak(left, left - 1, std::memory_order_relaxed)) {
        }
        full = full || left != 0;
    }
    return full;
}

}  // namespace migrate::accel::softdsa
