// SPDX-License-Identifier: Apache-2.0
// Generates the fault plans of long test runs.
#include <array>

#include "accel/softdsa/fault_plan.hpp"
#include "base/splitmix64.hpp"

namespace migrate::accel::softdsa {
namespace {

// A sequence of random numbers.
class Dice {
  public:
    explicit Dice(std::uint64_t seed) : state_(splitmix64(seed ^ 0x6473'61U)) {}
    std::uint64_t below(std::uint64_t bound) {
        state_ = splitmix64(state_);
        return (state_ >> 16U) % bound;
    }

  private:
    std::uint64_t state_;
};

FaultWhen random_when(Dice& dice) {
    switch (dice.below(5)) {
        case 0:
            return {FaultWhen::Kind::kAt, dice.below(200), 0};
        case 1:
            return {FaultWhen::Kind::kFrom, dice.below(500), 0};
        case 2:
            return {FaultWhen::Kind::kEvery, 2 + dice.below(60), 0};
        // Thousandths, which print exactly.
        default:
            return {FaultWhen::Kind::kChance, 0, static_cast<double>(1 + dice.below(80)) / 1000};
    }
}

std::uint64_t random_value(FaultKind kind, Dice& dice) {
    constexpr auto kStatuses = std::to_array<std::uint8_t>(
        {0x02, 0x03, 0x04, 0x05, 0x06, 0x10, 0x11, 0x12, 0x13, 0x14, 0x16, 0x17,
         0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1f, 0x20, 0x21, 0x22, 0x83, 0x84, 0xa2});
    switch (kind) {
        case FaultKind::kFull:
            return dice.below(20) == 0 ? kAnyValue : 1 + dice.below(300);
        case FaultKind::kFaultByte:
            return dice.below(2) == 0 ? kAnyValue : dice.below(4096);
        case FaultKind::kListFault:
        case FaultKind::kBadChild:
            return dice.below(2) == 0 ? kAnyValue : dice.below(32);
        case FaultKind::kBatchStatus:
        case FaultKind::kStatus:
            return kStatuses[dice.below(kStatuses.size())];
        case FaultKind::kLate:
            return (1 + dice.below(2000)) * 1000;
        case FaultKind::kHaltAfter:
            return dice.below(2000);
        default:
            return 0;
    }
}

}  // namespace

FaultPlan random_plan(std::uint64_t seed) {
    // The number of entries sets how often a kind is drawn. kWrong is left out, because a client
    // cannot be expected to survive a wrong answer.
    constexpr auto kDrawn = std::to_array<FaultKind>(
        {FaultKind::kFull,        FaultKind::kFull,        FaultKind::kFaultByte,
         FaultKind::kFaultByte,   FaultKind::kListFault,   FaultKind::kListFault,
         FaultKind::kBadChild,    FaultKind::kBadChild,    FaultKind::kBatchStatus,
         FaultKind::kBatchStatus, FaultKind::kStatus,      FaultKind::kStatus,
         FaultKind::kStatus,      FaultKind::kRecordFault, FaultKind::kDrop,
         FaultKind::kLate,        FaultKind::kLate,        FaultKind::kReorder,
         FaultKind::kReorder,     FaultKind::kHaltAfter});
    Dice dice(seed);
    FaultPlan plan;
    plan.seed = seed;
    const std::uint64_t rules = 1 + dice.below(4);
    for (std::uint64_t i = 0; i < rules; ++i) {
        FaultRule rule;
        rule.kind = kDrawn[dice.below(kDrawn.size())];
        rule.value = random_value(rule.kind, dice);
        if (dice.below(4) == 0) rule.queue = static_cast<int>(dice.below(2));
        if (rule.kind != FaultKind::kHaltAfter) rule.when = random_when(dice);
        plan.rules.push_back(rule);
    }
    return plan;
}

}  // namespace migrate::accel::softdsa
