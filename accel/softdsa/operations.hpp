// What one descriptor that is no batch does: checked as the device checks it, and done.
// Source: Intel Data Streaming Accelerator Architecture Specification, chapters 5 and 8.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "accel/dsa/descriptor.hpp"
#include "accel/softdsa/device.hpp"

namespace migrate::accel::softdsa {

// Descriptor::flags of the CRC operations.
inline constexpr std::uint32_t kFlagCrcReadSeed = 0x1'0000;  // from memory, not the descriptor
inline constexpr std::uint32_t kFlagCrcPlain = 0x2'0000;     // no inversion, no reflection
inline constexpr std::uint32_t kFlagCrcPlainData = 0x4'0000;

enum class Place : std::uint8_t { kQueue, kBatch };  // where a descriptor was found

// What a completion record says.
struct Outcome {
    std::uint8_t status = static_cast<std::uint8_t>(dsa::CompletionStatus::kSuccess);
    std::uint8_t result = 0;
    std::uint32_t bytes_completed = 0;
    std::uint64_t fault_address = 0;
    std::uint32_t invalid_flags = 0;
    std::uint32_t crc = 0;
    std::uint64_t transferred = 0;  // bytes; for counters and timing, in no record

    bool failed() const {
        return status != static_cast<std::uint8_t>(dsa::CompletionStatus::kSuccess);
    }
};

Outcome outcome_of(dsa::CompletionStatus status);

// kSuccess, or what the device refuses the descriptor for before it touches memory. Batches too.
Outcome check(const dsa::Descriptor& descriptor, const QueueConfig& queue, Place place);

std::array<std::byte, 32> encode(const Outcome& outcome, dsa::Opcode opcode);

// Used by one engine.
class Operator {
  public:
    Operator();

    // A descriptor that check() let pass, neither a batch nor a drain. A page fault at byte
    // `fault_at` of the transfer is invented if that is below its size.
    Outcome execute(const dsa::Descriptor& descriptor, std::uint64_t fault_at = UINT64_MAX);

  private:
    std::unique_ptr<std::byte[]> first_, second_;  // what was read of the two sources
};

}  // namespace migrate::accel::softdsa
