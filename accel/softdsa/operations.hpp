// SPDX-License-Identifier: Apache-2.0
// Checks one descriptor as the device does, and executes it if it is not a batch. Source: Intel
// Data Streaming Accelerator Architecture Specification, chapters 5 and 8.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "accel/dsa/descriptor.hpp"
#include "accel/softdsa/device.hpp"

namespace migrate::accel::softdsa {

// Descriptor::flags of the CRC operations.
inline constexpr std::uint32_t kFlagCrcReadSeed = 0x1'0000;  // seed in memory, not in descriptor
inline constexpr std::uint32_t kFlagCrcPlain = 0x2'0000;     // no inversion, no reflection
inline constexpr std::uint32_t kFlagCrcPlainData = 0x4'0000;

enum class Place : std::uint8_t { kQueue, kBatch };  // place where a descriptor was found

// The content of a completion record.
struct Outcome {
    std::uint8_t status = static_cast<std::uint8_t>(dsa::CompletionStatus::kSuccess);
    std::uint8_t result = 0;
    std::uint32_t bytes_completed = 0;
    std::uint64_t fault_address = 0;
    std::uint32_t invalid_flags = 0;
    // Bytes 16 to 31 of the record for operations that answer there (CRC, DIF, delta); a refusal
    // for invalid flags has them in their place.
    std::array<std::uint32_t, 4> specific{};
    std::uint64_t transferred = 0;  // bytes; for counters and timing, not in the record

    bool failed() const {
        return status != static_cast<std::uint8_t>(dsa::CompletionStatus::kSuccess);
    }
};

Outcome outcome_of(dsa::CompletionStatus status);

// Returns kSuccess, or the reason for which the device refuses the descriptor before it touches
// memory. Also checks batches.
Outcome check(const dsa::Descriptor& descriptor, const QueueConfig& queue, Place place);

std::array<std::byte, 32> encode(const Outcome& outcome, dsa::Opcode opcode);

// One engine uses it.
class Operator {
  public:
    Operator();

    // Executes a descriptor that check() accepted, neither a batch nor a drain. Injects a page
    // fault at byte `fault_at` of the transfer if that is below its size.
    Outcome execute(const dsa::Descriptor& descriptor, std::uint64_t fault_at = UINT64_MAX);

  private:
    std::unique_ptr<std::byte[]> first_, second_;  // data read from the two sources
};

}  // namespace migrate::accel::softdsa
