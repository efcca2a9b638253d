// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/operations.hpp"

#include <algorithm>
#include <cstring>

#include "accel/softdsa/crc32c.hpp"
#include "accel/softdsa/delta.hpp"
#include "accel/softdsa/dif.hpp"
#include "accel/softdsa/transfer.hpp"
#include "accel/softdsa/user_memory.hpp"

namespace migrate::accel::softdsa {
namespace {

using dsa::CompletionStatus;
using dsa::Descriptor;
using dsa::Opcode;

// Compares words itself: a library in the same program that passes memcmp() and memcpy() on to a
// DSA device would otherwise wait here for this engine.
std::size_t first_difference(const std::byte* a, const std::byte* b, std::size_t bytes) {
    std::size_t at = 0;
    for (; at + sizeof(std::uint64_t) <= bytes; at += sizeof(std::uint64_t)) {
        std::uint64_t x = 0;
        std::uint64_t y = 0;
        std::memcpy(&x, a + at, sizeof x);
        std::memcpy(&y, b + at, sizeof y);
        if (x != y) break;
    }
    while (at < bytes && a[at] == b[at]) ++at;
    return at;
}

// Repeats the 8 bytes of `pattern`; a chunk always begins at a multiple of 8.
void fill(std::byte* to, std::size_t bytes, std::uint64_t pattern) {
    for (std::size_t at = 0; at < bytes; at += sizeof pattern)
        std::memcpy(to + at, &pattern, std::min(sizeof pattern, bytes - at));
}

// Returns the outcome of a comparison; if `equal` is false, the data differ at byte
// transfer.done().
Outcome compared(const Transfer& transfer, const Descriptor& descriptor, bool equal) {
    if (equal && transfer.stopped()) return transfer.outcome();
    Outcome outcome;
    outcome.transferred = transfer.done();
    if (!equal) {
        outcome.result = 1;
        outcome.bytes_completed = static_cast<std::uint32_t>(transfer.done());
    }
    const auto expected = static_cast<std::uint8_t>(descriptor.specific[0]);
    if ((descriptor.flags() & dsa::kFlagCheckResult) != 0 && outcome.result != expected)
        outcome.status = static_cast<std::uint8_t>(CompletionStatus::kSuccessFalsePredicate);
    return outcome;
}

Outcome compare(const Descriptor& descriptor, Transfer& transfer, std::byte* first,
                std::byte* second) {
    while (const std::size_t chunk = transfer.next(descriptor.source, false)) {
        std::size_t bytes = transfer.load(descriptor.source + transfer.done(), first, chunk);
        bytes = transfer.load(descriptor.destination + transfer.done(), second, bytes);
        const std::size_t same = first_difference(first, second, bytes);
        transfer.advance(same);
        if (same < bytes) return compared(transfer, descriptor, false);
    }
    return compared(transfer, descriptor, true);
}

Outcome compare_pattern(const Descriptor& descriptor, Transfer& transfer, std::byte* first,
                        std::byte* pattern) {
    fill(pattern, std::min<std::size_t>(descriptor.size, kChunkBytes), descriptor.destination);
    while (const std::size_t chunk = transfer.next(descriptor.source, false)) {
        const std::size_t bytes = transfer.load(descriptor.source + transfer.done(), first, chunk);
        const std::size_t same = first_difference(first, pattern, bytes);
        transfer.advance(same);
        if (same < bytes) return compared(transfer, descriptor, false);
    }
    return compared(transfer, descriptor, true);
}

Outcome fill_memory(const Descriptor& descriptor, Transfer& transfer, std::byte* pattern) {
    fill(pattern, std::min<std::size_t>(descriptor.size, kChunkBytes), descriptor.source);
    while (const std::size_t chunk = transfer.next(descriptor.destination, true))
        transfer.advance(transfer.store(descriptor.destination + transfer.done(), pattern, chunk));
    return transfer.outcome();
}

Outcome move_forward(const Descriptor& descriptor, Transfer& transfer, std::byte* buffer) {
    while (const std::size_t chunk = transfer.next(descriptor.source, false)) {
        const std::size_t bytes = transfer.load(descriptor.source + transfer.done(), buffer, chunk);
        transfer.advance(transfer.store(descriptor.destination + transfer.done(), buffer, bytes));
    }
    return transfer.outcome();
}

// Copies from the end, for a destination that begins inside the source. A fault then counts the
// bytes done from the end, and result 1 reports that. No piece crosses a page, so each is copied
// completely or not at all.
Outcome move_backward(const Descriptor& descriptor, Transfer& transfer, std::byte* buffer) {
    const auto in_page = [](std::uint64_t end) {
        const std::uint64_t bytes = end % user_memory::kPageBytes;
        return bytes == 0 ? user_memory::kPageBytes : bytes;
    };
    while (true) {
        const std::uint64_t left = descriptor.size - transfer.done();
        const std::uint64_t source_end = descriptor.source + left;
        // An injected fault is at the last remaining byte.
        std::size_t bytes = transfer.next(source_end - 1 - transfer.done(), false);
        if (bytes == 0) break;
        bytes = std::min({bytes, in_page(source_end), in_page(descriptor.destination + left)});
        if (transfer.load(source_end - bytes, buffer, bytes) != bytes) break;
        if (transfer.store(descriptor.destination + left - bytes, buffer, bytes) != bytes) break;
        transfer.advance(bytes);
    }
    Outcome outcome = transfer.outcome();
    if (transfer.stopped()) outcome.result = 1;
    return outcome;
}

Outcome dualcast(const Descriptor& descriptor, Transfer& transfer, std::byte* buffer) {
    while (const std::size_t chunk = transfer.next(descriptor.source, false)) {
        std::size_t bytes = transfer.load(descriptor.source + transfer.done(), buffer, chunk);
        bytes = transfer.store(descriptor.destination + transfer.done(), buffer, bytes);
        bytes = transfer.store(descriptor.specific[0] + transfer.done(), buffer, bytes);
        transfer.advance(bytes);
    }
    return transfer.outcome();
}

Outcome make_crc(const Descriptor& descriptor, Transfer& transfer, std::byte* buffer) {
    const std::uint32_t flags = descriptor.flags();
    auto crc = static_cast<std::uint32_t>(descriptor.specific[0]);
    if ((flags & kFlagCrcReadSeed) != 0) {
        std::array<std::byte, sizeof crc> seed{};
        if (transfer.load(descriptor.specific[1], seed.data(), seed.size()) != seed.size())
            return transfer.outcome();
        std::memcpy(&crc, seed.data(), sizeof crc);
    }
    const CrcForm form = (flags & kFlagCrcPlain) != 0 ? CrcForm::kPlain : CrcForm::kReflected;
    const CrcData order = (flags & kFlagCrcPlainData) != 0 ? CrcData::kMostSignificantFirst
                                                           : CrcData::kLeastSignificantFirst;
    while (const std::size_t chunk = transfer.next(descriptor.source, false)) {
        std::size_t bytes = transfer.load(descriptor.source + transfer.done(), buffer, chunk);
        if (descriptor.opcode() == Opcode::kCopyCrc)
            bytes = transfer.store(descriptor.destination + transfer.done(), buffer, bytes);
        crc = crc32c(crc, {buffer, bytes}, form, order);
        transfer.advance(bytes);
    }
    Outcome outcome = transfer.outcome();
    outcome.specific[0] = crc;
    return outcome;
}

// Flushing caches has no visible effect here; the range is translated and can fault like any other.
Outcome flush(const Descriptor& descriptor, Transfer& transfer, std::byte* buffer) {
    while (const std::size_t chunk = transfer.next(descriptor.destination, false))
        transfer.advance(transfer.load(descriptor.destination + transfer.done(), buffer, chunk));
    return transfer.outcome();
}

}  // namespace

Operator::Operator()
    : first_(std::make_unique_for_overwrite<std::byte[]>(kChunkBytes)),
      second_(std::make_unique_for_overwrite<std::byte[]>(kChunkBytes)) {}

Outcome Operator::execute(const Descriptor& descriptor, std::uint64_t fault_at) {
    Transfer transfer(descriptor, fault_at);
    switch (descriptor.opcode()) {
        case Opcode::kNoop:
        case Opcode::kDrain:
        case Opcode::kBatch:
            return {};
        case Opcode::kMemmove:
            return descriptor.destination - descriptor.source < descriptor.size
                       ? move_backward(descriptor, transfer, first_.get())
                       : move_forward(descriptor, transfer, first_.get());
        case Opcode::kFill:
            return fill_memory(descriptor, transfer, first_.get());
        case Opcode::kCompare:
            return compare(descriptor, transfer, first_.get(), second_.get());
        case Opcode::kCompval:
            return compare_pattern(descriptor, transfer, first_.get(), second_.get());
        case Opcode::kCreateDelta:
            return create_delta(descriptor, transfer, first_.get(), second_.get());
        case Opcode::kApplyDelta:
            return apply_delta(descriptor, transfer, first_.get());
        case Opcode::kDualcast:
            return dualcast(descriptor, transfer, first_.get());
        case Opcode::kCrcgen:
        case Opcode::kCopyCrc:
            return make_crc(descriptor, transfer, first_.get());
        case Opcode::kDifCheck:
        case Opcode::kDifInsert:
        case Opcode::kDifStrip:
        case Opcode::kDifUpdate:
            return execute_dif(descriptor, transfer, first_.get(), second_.get());
        case Opcode::kCacheFlush:
            return flush(descriptor, transfer, first_.get());
    }
    return outcome_of(CompletionStatus::kBadOpcode);
}

}  // namespace migrate::accel::softdsa
