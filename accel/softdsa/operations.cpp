#include "accel/softdsa/operations.hpp"

#include <algorithm>
#include <cstring>

#include "accel/softdsa/crc32c.hpp"
#include "accel/softdsa/user_memory.hpp"

namespace migrate::accel::softdsa {
namespace {

using dsa::CompletionStatus;
using dsa::Descriptor;
using dsa::Opcode;

constexpr std::size_t kChunkBytes = std::size_t{64} << 10U;

// The progress of one descriptor through memory, a chunk at a time: it stops permanently at the
// first fault.
class Transfer {
  public:
    Transfer(const Descriptor& descriptor, std::uint64_t fault_at)
        : descriptor_(descriptor),
          blocks_on_fault_((descriptor.flags() & dsa::kFlagBlockOnFault) != 0),
          fault_at_(fault_at) {}

    // Returns the size of the next chunk; 0 if done or stopped. An injected fault at the chunk's
    // start is reported at `address` + done().
    std::size_t next(std::uint64_t address, bool is_write) {
        if (stopped_) return 0;
        if (done_ == fault_at_ && done_ < descriptor_.size) fault(address + done_, is_write);
        const std::uint64_t left = std::min<std::uint64_t>(descriptor_.size, fault_at_) - done_;
        return stopped_ ? 0 : std::min<std::size_t>(left, kChunkBytes);
    }
    std::uint64_t done() const { return done_; }
    bool stopped() const { return stopped_; }
    void advance(std::size_t bytes) { done_ += bytes; }

    // Returns the bytes copied; if fewer than `bytes`, the transfer stops at the next byte.
    std::size_t load(std::uint64_t address, std::byte* to, std::size_t bytes) {
        const std::size_t present = accessible(address, bytes);
        const std::size_t copied = user_memory::read(address, to, present);
        if (copied < bytes) fault(address + copied, false);
        return copied;
    }
    std::size_t store(std::uint64_t address, const std::byte* from, std::size_t bytes) {
        std::size_t present = accessible(address, bytes);
        if (!blocks_on_fault_) present = user_memory::writable(address, present);
        const std::size_t copied = user_memory::write(address, from, present);
        if (copied < bytes) fault(address + copied, true);
        return copied;
    }

    Outcome outcome() const {
        Outcome result = fault_;
        if (stopped_) result.bytes_completed = static_cast<std::uint32_t>(done_);
        result.transferred = done_;
        return result;
    }

  private:
    std::size_t accessible(std::uint64_t address, std::size_t bytes) const {
        return blocks_on_fault_ ? bytes : user_memory::resident(address, bytes);
    }
    // The last fault counts: it is the one at the lowest byte, because later bytes are not tried.
    void fault(std::uint64_t address, bool is_write) {
        stopped_ = true;
        fault_ = outcome_of(blocks_on_fault_ ? CompletionStatus::kPageResponseError
                                             : CompletionStatus::kPageFault);
        if (is_write) fault_.status |= dsa::kStatusWriteFault;
        fault_.fault_address = address - address % user_memory::kPageBytes;
    }

    const Descriptor& descriptor_;
    bool blocks_on_fault_;
    std::uint64_t fault_at_;
    std::uint64_t done_ = 0;
    bool stopped_ = false;
    Outcome fault_;
};

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
    outcome.crc = crc;
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
        case Opcode::kDualcast:
            return dualcast(descriptor, transfer, first_.get());
        case Opcode::kCrcgen:
        case Opcode::kCopyCrc:
            return make_crc(descriptor, transfer, first_.get());
        case Opcode::kCacheFlush:
            return flush(descriptor, transfer, first_.get());
    }
    return outcome_of(CompletionStatus::kBadOpcode);
}

}  // namespace migrate::accel::softdsa
