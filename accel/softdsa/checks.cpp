// The reasons for which the device refuses a descriptor, and the layout of its answers in memory.
#include <cstring>

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
// Bits 16 to 23 belong to the operation.
constexpr std::uint32_t kFlagsDrain = 0x0f'0000;
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
            return kCommonFlags | kFlagAddressClasses | kFlagReadback | kFlagsDrain;
        case Opcode::kNoop:
            return kCommonFlags;
        case Opcode::kCompare:
        case Opcode::kCompval:
            return kMemoryFlags | dsa::kFlagCheckResult;
        case Opcode::kCrcgen:
            return kMemoryFlags | kFlagsCrc;
        case Opcode::kCopyCrc:
            return kWritingFlags | kFlagsCrc;
        case Opcode::kMemmove:
        case Opcode::kFill:
        case Opcode::kDualcast:
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

// Returns true if the unused fields are zero. From byte 40 on that depends on the opcode; fields
// that flags select are not checked.
bool reserved_are_zero(const Descriptor& descriptor) {
    std::array<std::uint64_t, 3> unused{~0ULL, ~0ULL, ~0ULL};
    switch (descriptor.opcode()) {
        case Opcode::kCompare:
        case Opcode::kCompval:
            unused[0] = ~3ULL;
            break;  // the expected result
        case Opcode::kCrcgen:
        case Opcode::kCopyCrc:
            unused[0] = 0xffff'ffff'0000'0000;  // the seed
            unused[1] = 0;                      // its address
            break;
        case Opcode::kDualcast:
            unused[0] = 0;
            break;
        default:
            break;
    }
    std::uint64_t found = descriptor.reserved | (descriptor.pasid & 0x7ff0'0000U);
    for (std::size_t i = 0; i < unused.size(); ++i) found |= descriptor.specific[i] & unused[i];
    if (descriptor.opcode() == Opcode::kNoop)
        found |= descriptor.source | descriptor.destination | descriptor.size;
    return found == 0;
}

bool overlap(std::uint64_t a, std::uint64_t b, std::uint64_t size) {
    return a < b ? b - a < size : a - b < size;
}

CompletionStatus check_addresses(const Descriptor& descriptor) {
    const std::uint64_t source = descriptor.source;
    const std::uint64_t destination = descriptor.destination;
    switch (descriptor.opcode()) {
        case Opcode::kDualcast: {
            const std::uint64_t second = descriptor.specific[0];
            if (((destination ^ second) & 0xfff) != 0) return CompletionStatus::kDualcastAddress;
            const std::uint64_t size = descriptor.size;
            if (overlap(source, destination, size) || overlap(source, second, size) ||
                overlap(destination, second, size))
                return CompletionStatus::kOverlap;
            break;
        }
        case Opcode::kCrcgen:
        case Opcode::kCopyCrc:
            if (descriptor.opcode() == Opcode::kCopyCrc &&
                overlap(source, destination, descriptor.size))
                return CompletionStatus::kOverlap;
            if ((descriptor.flags() & kFlagCrcReadSeed) != 0 && descriptor.specific[1] % 4 != 0)
                return CompletionStatus::kAddressAlignment;
            break;
        default:
            break;
    }
    return CompletionStatus::kSuccess;
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
            return descriptor.size == 0 || descriptor.size > queue.max_transfer
                       ? CompletionStatus::kTransferSize
                       : CompletionStatus::kSuccess;
    }
}

bool is_operation(Opcode opcode) {
    const auto number = static_cast<unsigned>(opcode);
    return number < 64 && (kOperations >> number & 1U) != 0;
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
    if (!is_operation(opcode) || nested) return outcome_of(CompletionStatus::kBadOpcode);
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
    const bool has_crc = opcode == Opcode::kCrcgen || opcode == Opcode::kCopyCrc;
    store(record, 16, has_crc && outcome.invalid_flags == 0 ? outcome.crc : outcome.invalid_flags);
    return record;
}

}  // namespace migrate::accel::softdsa
