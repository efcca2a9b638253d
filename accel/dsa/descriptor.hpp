// SPDX-License-Identifier: Apache-2.0
// The 64-byte descriptor that a DSA device takes, and its 32-byte answer. Source of layout and
// values: Intel Data Streaming Accelerator Architecture Specification (355167), chapters 8 and 9,
// and <linux/idxd.h>, against which tests/accel/dsa compares them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace migrate::accel::dsa {

enum class Opcode : std::uint8_t {
    kNoop = 0x00,
    kBatch = 0x01,
    kDrain = 0x02,
    kMemmove = 0x03,
    kFill = 0x04,
    kCompare = 0x05,
    kCompval = 0x06,  // compare with an 8-byte pattern
    kCreateDelta = 0x07,
    kApplyDelta = 0x08,
    kDualcast = 0x09,
    kCrcgen = 0x10,
    kCopyCrc = 0x11,
    kDifCheck = 0x12,
    kDifInsert = 0x13,
    kDifStrip = 0x14,
    kDifUpdate = 0x15,
    kCacheFlush = 0x20,
};

// Descriptor::flags
inline constexpr std::uint32_t kFlagFence = 0x1;
inline constexpr std::uint32_t kFlagBlockOnFault = 0x2;
inline constexpr std::uint32_t kFlagCompletionAddressValid = 0x4;  // CRAV
inline constexpr std::uint32_t kFlagRequestCompletion = 0x8;       // RCR
inline constexpr std::uint32_t kFlagRequestInterrupt = 0x10;
inline constexpr std::uint32_t kFlagCheckResult = 0x80;
inline constexpr std::uint32_t kFlagCacheControl = 0x100;

// CompletionRecord::status without its top bit.
enum class CompletionStatus : std::uint8_t {
    kNone = 0x00,  // not written yet
    kSuccess = 0x01,
    kSuccessFalsePredicate = 0x02,
    kPageFault = 0x03,  // processing stopped at fault_address
    kPageResponseError = 0x04,
    kBatchFailed = 0x05,     // at least one child did not succeed
    kBatchPageFault = 0x06,  // in the list; descriptors from bytes_completed on were not executed
    kDeltaOrder = 0x07,      // the record's numbers do not increase
    kDeltaOffset = 0x08,     // a number in the record is outside of the destination
    kDifError = 0x09,        // a block's field is wrong; `result` says what
    kBadOpcode = 0x10,
    kInvalidFlags = 0x11,
    kReservedNotZero = 0x12,
    kTransferSize = 0x13,
    kDescriptorCount = 0x14,
    kDeltaSize = 0x15,
    kOverlap = 0x16,
    kDualcastAddress = 0x17,
    kListAlignment = 0x18,
    kInterruptHandle = 0x19,
    kRecordAddress = 0x1a,
    kRecordAlignment = 0x1b,
    kAddressAlignment = 0x1c,
    kReadbackFault = 0x1f,
    kHardwareError = 0x20,
    kHardwareReadbackError = 0x21,
    kTranslationFailed = 0x22,
};
// Set if the faulting access was a write.
inline constexpr std::uint8_t kStatusWriteFault = 0x80;
inline constexpr std::uint8_t kStatusMask = 0x7f;

struct alignas(64) Descriptor {
    std::uint32_t pasid = 0;  // bits 19:0, and 31 privileged: the CPU or the driver fills it
    std::uint32_t flags_and_opcode = 0;  // flags in bits 23:0, opcode in 31:24
    std::uint64_t completion_address = 0;
    std::uint64_t source = 0;       // for a batch: address of its descriptor list
    std::uint64_t destination = 0;  // for a comparison: the second source; for COMPVAL: the pattern
    std::uint32_t size = 0;         // bytes; for a batch: number of descriptors
    std::uint16_t interrupt_handle = 0;
    std::uint16_t reserved = 0;
    std::uint64_t specific[3] = {};  // NOLINT(*-avoid-c-arrays): a hardware array

    constexpr Opcode opcode() const { return static_cast<Opcode>(flags_and_opcode >> 24); }
    constexpr std::uint32_t flags() const { return flags_and_opcode & 0xff'ffff; }
    constexpr void set(Opcode opcode, std::uint32_t flags) {
        flags_and_opcode = static_cast<std::uint32_t>(opcode) << 24 | flags;
    }
};
static_assert(sizeof(Descriptor) == 64 && offsetof(Descriptor, size) == 32 &&
              offsetof(Descriptor, specific) == 40);

struct alignas(32) CompletionRecord {
    // The device writes it last: read it with acquire before the other fields.
    std::atomic<std::uint8_t> status{0};
    std::uint8_t result = 0;
    std::uint16_t reserved = 0;
    std::uint32_t bytes_completed = 0;  // for a batch: number of completed descriptors
    std::uint64_t fault_address = 0;
    std::uint32_t invalid_flags = 0;
    std::uint32_t specific[3] = {};  // NOLINT(*-avoid-c-arrays)
};
static_assert(sizeof(CompletionRecord) == 32 && offsetof(CompletionRecord, fault_address) == 8 &&
              offsetof(CompletionRecord, invalid_flags) == 16);
static_assert(std::atomic<std::uint8_t>::is_always_lock_free);

inline std::uint64_t address_of(const void* object) {
    return reinterpret_cast<std::uintptr_t>(object);
}

}  // namespace migrate::accel::dsa
