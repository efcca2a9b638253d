// SPDX-License-Identifier: Apache-2.0
// The reasons for which the device refuses a descriptor, and the layout of its answers in memory.
#include <cstring>

#include "accel/softdsa/delta.hpp"
#include "accel/softdsa/dif.hpp"
#include "accel/softdsa/operations.hpp"

namespace migrate::accel::softdsa {
namespace {

using dsa::CompletionStatus;
using dsa::Descriptor;
using dsa::Opcode;

// Traffic class selectors, and flags that order or read back writes: <linux/idxd.h>. They have no
// effect here.
constexpr std::uint32_t kFlagAddress1Class = 0x200;
constexpr std::uint32_t kFlagAddressClasses = 0xe00;
constexpr std::uint32_t kFlagRecordClass = 0x1000;
constexpr std::uint32_t kFlagStrictOrder = 0x2000;
constexpr std::uint32_t kFlagReadback = 0x4000;
// Bits 16 to 23 belong to the operation. A drain may suppress implicit readbacks; the device has no
// readback of an address (bits 16 and 17; bit 9 of gen_cap).
constexpr std::uint32_t kFlagsDrain = 0x0c'0000;
constexpr std::uint32_t kFlagsCrc = 0x07'0000;

constexpr std::uint32_t kCommonFlags = dsa::kFlagCompletionAddressValid |
                                       dsa::kFlagRequestCompletion | dsa::kFlagRequestInterrupt |
                                       kFlagRecordClass;
constexpr std::uint32_t kMemoryFlags = kCommonFlags | dsa::kFlagBlockOnFault | kFlagAddressClasses;
constexpr std::uint32_t kWritingFlags =
    kMemoryFlags | dsa::kFlagCacheControl | kFlagStrictOrder | kFlagReadback;

std::uint32_t allowed_flags(Opcode opcode) {
    switch (opcode) {
        case Opcode::kBatch:
            return kCommonFlags | kFlagAddress1Class;
        case Opcode::kDrain:
            return kCommonFlags | kFlagAddressClasses | kFlagsDrain;
        case Opcode::kNoop:
            return kCommonFlags;
        case Opcode::kCompare:
        case Opcode::kCompval:
            return kMemoryFlags | dsa::kFlagCheckResult;
        case Opcode::kCreateDelta:
            return kWritingFlags | dsa::kFlagCheckResult;
        case Opcode::kDifCheck:
            return kMemoryFlags;
        case Opcode::kCrcgen:
            return kMemoryFlags | kFlagsCrc;
        case Opcode::kCopyCrc:
            return kWritingFlags | kFlagsCrc;
        case Opcode::kMemmove:
        case Opcode::kFill:
        case Opcode::kApplyDelta:
        case Opcode::kDualcast:
        case Opcode::kDifInsert:
        case Opcode::kDifStrip:
        case Opcode::kDifUpdate:
        case Opcode::kCacheFlush:
            return kWritingFlags;
    }
    return 0;
}

std::uint32_t invalid_flags(const Descriptor& descriptor, const QueueConfig& queue, Place place) {
    std::uint32_t allowed = allowed_flags(descriptor.opcode());
    if (place == Place::kBatch) allowed |= dsa::kFlagFence;
    if (!queue.block_on_fault) allowed &= ~dsa::kFlagBlockOnFault;
    std::uint32_t invalid = descriptor.flags() & ~allowed;
    if ((descriptor.flags() & dsa::kFlagCompletionAddressValid) == 0)
        invalid |= descriptor.flags() & dsa::kFlagRequestCompletion;
    return invalid;
}

// Returns the unused bits of the bytes from 40 on, which depend on the operation; fields that flags
// select count as used.
std::array<std::uint64_t, 3> unused_bits(Opcode opcode) {
    constexpr std::uint64_t kAll = ~0ULL;
    constexpr std::uint64_t kUpper = 0xffff'ffff'0000'0000;
    // The DIF flags of the source, of the destination, and of both, from byte 40 on.
    constexpr std::uint64_t kDifCheckFlags = 0x0f'00ff;
    constexpr std::uint64_t kDifInsertFlags = 0x0f'f800;
    switch (opcode) {
        case Opcode::kCompare:
        case Opcode::kCompval:
            return {~3ULL, kAll, kAll};  // the expected result
        case Opcode::kCreateDelta:
            return {0, kUpper, ~7ULL};  // address and size of the record, expected results
        case Opcode::kApplyDelta:
            return {kUpper, kAll, kAll};  // size of the record
        case Opcode::kCrcgen:
        case Opcode::kCopyCrc:
            return {kUpper, 0, kAll};  // the seed, and its address
        case Opcode::kDualcast:
            return {0, kAll, kAll};
        case Opcode::kDifCheck:
        case Opcode::kDifStrip:
            return {~kDifCheckFlags, 0, kAll};
        case Opcode::kDifInsert:
            return {~kDifInsertFlags, kAll, 0};
        case Opcode::kDifUpdate:
            return {~(kDifCheckFlags | kDifInsertFlags), 0, 0};
        default:
            return {kAll, kAll, kAll};
    }
}

bool reserved_are_zero(const Descriptor& descriptor) {
    const std::array<std::uint64_t, 3> unused = unused_bits(descriptor.opcode());
    std::uint64_t found = descriptor.reserved | (descriptor.pasid & 0x7ff0'0000U);
    for (std::size_t i = 0; i < unused.size(); ++i) found |= descriptor.specific[i] & unused[i];
    if (descriptor.opcode() == Opcode::kNoop)
        found |= descriptor.source | descriptor.destination | descriptor.size;
    return found == 0;
}

bool overlap(std::uint64_t a, std::uint64_t a_size, std::uint64_t b, std::uint64_t b_size) {
    return a < b ? b - a < a_size : a - b < b_size;
}
bool overlap(std::uint64_t a, std::uint64_t b, std::uint64_t size) {
    return overlap(a, size, b, size);
}

CompletionStatus check_delta(const Descriptor& descriptor) {
    const bool creates = descriptor.opcode() == Opcode::kCreateDelta;
    const std::uint64_t third = creates ? descriptor.specific[0] : 0;
    if ((descriptor.source | descriptor.destination | third) % kDeltaWordBytes != 0)
        return CompletionStatus::kAddressAlignment;
    const auto record = static_cast<std::uint32_t>(descriptor.specific[creates ? 1 : 0]);
    if (creates ? record < kLeastDeltaRecordBytes : record == 0 || record % kDeltaEntryBytes != 0)
        return CompletionStatus::kDeltaSize;
    if (!creates && overlap(descriptor.source, record, descriptor.destination, descriptor.size))
        return CompletionStatus::kOverlap;
    return CompletionStatus::kSuccess;
}

CompletionStatus check_dif(const Descriptor& descriptor) {
    const DifBlocks blocks = dif_blocks(descriptor);
    const std::uint64_t written =
        std::uint64_t{descriptor.size} / blocks.source * blocks.destination;
    if (written != 0 &&
        overlap(descriptor.source, descriptor.size, descriptor.destination, written))
        return CompletionStatus::kOverlap;
    return CompletionStatus::kSuccess;
}

CompletionStatus check_addresses(const Descriptor& descriptor) {
    const std::uint64_t source = descriptor.source;
    const std::uint64_t destination = descriptor.destination;
    const std::uint64_t size = descriptor.size;
    switch (descriptor.opcode()) {
        case Opcode::kCreateDelta:
        case Opcode::kApplyDelta:
            return check_delta(descriptor);
        case Opcode::kDifCheck:
        case Opcode::kDifInsert:
        case Opcode::kDifStrip:
        case Opcode::kDifUpdate:
            return check_dif(descriptor);
        case Opcode::kDualcast: {
            const std::uint64_t second = descriptor.specific[0];
            if (((destination ^ second) & 0xfff) != 0) return CompletionStatus::kDualcastAddress;
            if (overlap(source, destination, size) || overlap(source, second, size) ||
                overlap(destination, second, size))
                return CompletionStatus::kOverlap;
            break;
        }
        case Opcode::kCrcgen:
        case Opcode::kCopyCrc:
            if (descriptor.opcode() == Opcode::kCopyCrc && overlap(source, destination, size))
                return CompletionStatus::kOverlap;
            if ((descriptor.flags() & kFlagCrcReadSeed) != 0 && descriptor.specific[1] % 4 != 0)
                return CompletionStatus::kAddressAlignment;
            break;
        default:
            break;
    }
    return CompletionStatus::kSuccess;
}

// Returns true if the operation cannot transfer so many bytes, whatever the queue allows.
bool is_odd_size(const Descriptor& descriptor) {
    switch (descriptor.opcode()) {
        case Opcode::kCreateDelta:
        case Opcode::kApplyDelta:
            return descriptor.size % kDeltaWordBytes != 0 || descriptor.size > kMostDeltaBytes;
        case Opcode::kDifCheck:
        case Opcode::kDifInsert:
        case Opcode::kDifStrip:
        case Opcode::kDifUpdate:
            return descriptor.size % dif_blocks(descriptor).source != 0;
        default:
            return false;
    }
}

CompletionStatus check_size(const Descriptor& descriptor, const QueueConfig& queue) {
    switch (descriptor.opcode()) {
        case Opcode::kNoop:
        case Opcode::kDrain:
            return CompletionStatus::kSuccess;
        case Opcode::kBatch:
            if (descriptor.source % sizeof(Descriptor) != 0)
                return CompletionStatus::kListAlignment;
            return descriptor.size < 2 || descriptor.size > queue.max_batch
                       ? CompletionStatus::kDescriptorCount
                       : CompletionStatus::kSuccess;
        default:
            return descriptor.size == 0 || descriptor.size > queue.max_transfer ||
                           is_odd_size(descriptor)
                       ? CompletionStatus::kTransferSize
                       : CompletionStatus::kSuccess;
    }
}

bool is_operation(Opcode opcode, const QueueConfig& queue) {
    const auto number = static_cast<unsigned>(opcode);
    return number < 64 && (queue.operations >> number & 1U) != 0;
}

// True if bytes 16 to 31 of the record belong to the operation.
bool answers_in_record_end(Opcode opcode) {
    return opcode == Opcode::kCreateDelta ||
           (opcode >= Opcode::kCrcgen && opcode <= Opcode::kDifUpdate);
}

template <typename T>
void store(std::array<std::byte, 32>& record, std::size_t offset, T value) {
    std::memcpy(record.data() + offset, &value, sizeof value);
}

}  // namespace

Outcome outcome_of(CompletionStatus status) {
    return {.status = static_cast<std::uint8_t>(status)};
}

Outcome check(const Descriptor& descriptor, const QueueConfig& queue, Place place) {
    const Opcode opcode = descriptor.opcode();
    const bool nested =
        place == Place::kBatch && (opcode == Opcode::kBatch || opcode == Opcode::kDrain);
    if (!is_operation(opcode, queue) || nested) return outcome_of(CompletionStatus::kBadOpcode);
    if (const std::uint32_t invalid = invalid_flags(descriptor, queue, place); invalid != 0) {
        Outcome outcome = outcome_of(CompletionStatus::kInvalidFlags);
        outcome.invalid_flags = invalid;
        return outcome;
    }
    if (!reserved_are_zero(descriptor)) return outcome_of(CompletionStatus::kReservedNotZero);
    // The device has no interrupts.
    if ((descriptor.flags() & dsa::kFlagRequestInterrupt) != 0)
        return outcome_of(CompletionStatus::kInterruptHandle);
    if (const CompletionStatus size = check_size(descriptor, queue);
        size != CompletionStatus::kSuccess)
        return outcome_of(size);
    return outcome_of(check_addresses(descriptor));
}

std::array<std::byte, 32> encode(const Outcome& outcome, Opcode opcode) {
    std::array<std::byte, 32> record{};
    store(record, 0, outcome.status);
    store(record, 1, outcome.result);
    store(record, 4, outcome.bytes_completed);
    store(record, 8, outcome.fault_address);
    store(record, 16, outcome.invalid_flags);
    if (outcome.invalid_flags == 0 && answers_in_record_end(opcode))
        store(record, 16, outcome.specific);
    return record;
}

}  // namespace migrate::accel::softdsa
