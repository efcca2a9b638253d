// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/injected_outcomes.hpp"

#include <array>

#include "base/splitmix64.hpp"

namespace migrate::accel::softdsa {

using dsa::CompletionStatus;
using dsa::Opcode;

bool is_partial(std::uint8_t status) {
    const auto kind = static_cast<CompletionStatus>(status & dsa::kStatusMask);
    return kind == CompletionStatus::kPageFault || kind == CompletionStatus::kPageResponseError ||
           kind == CompletionStatus::kSuccessFalsePredicate;
}

bool answers_by_record(Opcode opcode) {
    return opcode == Opcode::kCompare || opcode == Opcode::kCompval || opcode == Opcode::kCrcgen ||
           opcode == Opcode::kCopyCrc;
}

std::uint8_t random_error(std::uint64_t random) {
    constexpr auto kErrors = std::to_array<CompletionStatus>(
        {CompletionStatus::kBadOpcode, CompletionStatus::kInvalidFlags,
         CompletionStatus::kReservedNotZero, CompletionStatus::kTransferSize,
         CompletionStatus::kOverlap, CompletionStatus::kAddressAlignment,
         CompletionStatus::kReadbackFault, CompletionStatus::kHardwareError,
         CompletionStatus::kHardwareReadbackError, CompletionStatus::kTranslationFailed});
    return static_cast<std::uint8_t>(kErrors[random % kErrors.size()]);
}

Outcome garbage(std::uint8_t status, std::uint64_t random) {
    Outcome outcome;
    outcome.status = status;
    outcome.result = static_cast<std::uint8_t>(random);
    outcome.bytes_completed = static_cast<std::uint32_t>(splitmix64(random));
    outcome.fault_address = splitmix64(random + 1);
    outcome.invalid_flags = static_cast<std::uint32_t>(splitmix64(random + 2));
    outcome.specific[0] = outcome.invalid_flags;
    return outcome;
}

Outcome with_status(Outcome outcome, std::uint8_t status) {
    if (static_cast<CompletionStatus>(status) == CompletionStatus::kSuccessFalsePredicate ||
        outcome.failed())
        outcome.status = status;
    return outcome;
}

Outcome falsified(Outcome outcome, const dsa::Descriptor& descriptor, std::uint64_t random) {
    outcome.status = static_cast<std::uint8_t>(CompletionStatus::kSuccess);
    outcome.fault_address = 0;
    outcome.specific[0] ^= 1U << random % 32;
    outcome.result ^= 1U;
    outcome.bytes_completed =
        outcome.result == 0 ? 0 : static_cast<std::uint32_t>(random % descriptor.size);
    return outcome;
}

}  // namespace migrate::accel::softdsa
