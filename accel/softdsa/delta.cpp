// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/delta.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "accel/softdsa/user_memory.hpp"

namespace migrate::accel::softdsa {
namespace {

using dsa::CompletionStatus;
using dsa::Descriptor;

// Bytes of each source that are compared at a time: the entries of all of them fit into a buffer.
constexpr std::size_t kPieceBytes = kChunkBytes / 4;
constexpr std::size_t kChunkEntries = std::size_t{1600} * kDeltaEntryBytes;
static_assert(kPieceBytes / kDeltaWordBytes * kDeltaEntryBytes <= kChunkBytes);

// Appends the differing words of two pieces to `entries`, while there is room for `most` bytes.
// Returns the bytes of the entries; `compared` is reduced to the word that found no room.
std::size_t differences(const std::byte* first, const std::byte* second, std::size_t& compared,
                        std::uint64_t offset, std::byte* entries, std::size_t most) {
    std::size_t filled = 0;
    for (std::size_t at = 0; at < compared; at += kDeltaWordBytes) {
        if (std::memcmp(first + at, second + at, kDeltaWordBytes) == 0) continue;
        if (filled + kDeltaEntryBytes > most) {
            compared = at;
            break;
        }
        const auto number = static_cast<std::uint16_t>((offset + at) / kDeltaWordBytes);
        std::memcpy(entries + filled, &number, sizeof number);
        std::memcpy(entries + filled + sizeof number, second + at, kDeltaWordBytes);
        filled += kDeltaEntryBytes;
    }
    return filled;
}

std::size_t whole_words(std::size_t bytes) { return bytes - bytes % kDeltaWordBytes; }

// Returns the outcome of an operation that met a page fault: no bytes are completed. Clients differ
// in how they continue such an operation (Intel's dsa_test advances all addresses by the same
// bytes), but each of them repeats one of which nothing was done, which is always right.
Outcome to_repeat(const Transfer& transfer) {
    Outcome outcome = transfer.outcome();
    outcome.bytes_completed = 0;
    return outcome;
}

std::uint16_t number_at(const std::byte* entry) {
    std::uint16_t number = 0;
    std::memcpy(&number, entry, sizeof number);
    return number;
}

// Writes words of one page in one call.
class WordWriter {
  public:
    WordWriter(std::uint64_t destination, Transfer& transfer)
        : destination_(destination), transfer_(transfer) {}

    // Both return false if the transfer has stopped. The entry must exist until flush().
    bool add(const std::byte* entry) {
        const std::uint64_t address =
            destination_ + number_at(entry) * std::uint64_t{kDeltaWordBytes};
        const bool fits = count_ == 0 || (count_ < words_.size() &&
                                          page_of(address) == page_of(words_[0].address));
        if (!fits && !flush()) return false;
        words_[count_++] = {address, const_cast<std::byte*>(entry) + sizeof(std::uint16_t),
                            kDeltaWordBytes};
        return true;
    }
    bool flush() {
        const std::size_t written = transfer_.store_in_page({words_.data(), count_});
        transfer_.advance(written * kDeltaEntryBytes);
        return written == std::exchange(count_, 0);
    }

  private:
    static std::uint64_t page_of(std::uint64_t address) {
        return address / user_memory::kPageBytes;
    }

    std::uint64_t destination_;
    Transfer& transfer_;
    std::array<user_memory::Piece, user_memory::kMostPieces> words_;
    std::size_t count_ = 0;
};

}  // namespace

Outcome create_delta(const Descriptor& descriptor, Transfer& transfer, std::byte* words,
                     std::byte* entries) {
    const auto most = static_cast<std::uint32_t>(descriptor.specific[1]);
    std::uint32_t record_bytes = 0;
    bool too_large = false;
    while (!too_large) {
        const std::uint64_t offset = transfer.done();
        std::size_t bytes = std::min(transfer.next(descriptor.source, false), kPieceBytes);
        if (bytes == 0) break;
        // Only an injected fault is inside a word.
        if (bytes < kDeltaWordBytes && !transfer.next_block(descriptor.source, kDeltaWordBytes))
            break;
        std::byte* const second = words + kPieceBytes;
        bytes = transfer.load(descriptor.source + offset, words, whole_words(bytes));
        bytes = whole_words(transfer.load(descriptor.destination + offset, second, bytes));
        std::size_t compared = bytes;
        const std::size_t filled =
            differences(words, second, compared, offset, entries, most - record_bytes);
        transfer.store(descriptor.specific[0] + record_bytes, entries, filled);
        record_bytes += static_cast<std::uint32_t>(filled);
        too_large = compared < bytes;
        transfer.advance(compared);
    }
    if (transfer.stopped()) return to_repeat(transfer);
    Outcome outcome = transfer.outcome();
    outcome.bytes_completed = static_cast<std::uint32_t>(transfer.done());
    outcome.result = too_large ? kDeltaTooLarge : record_bytes != 0 ? kDeltaCreated : kDeltaEqual;
    outcome.specific[0] = record_bytes;
    const std::uint64_t expected = descriptor.specific[2] >> outcome.result & 1U;
    if ((descriptor.flags() & dsa::kFlagCheckResult) != 0 && expected == 0)
        outcome.status = static_cast<std::uint8_t>(CompletionStatus::kSuccessFalsePredicate);
    return outcome;
}

Outcome apply_delta(const Descriptor& descriptor, Transfer& transfer, std::byte* entries) {
    const auto bytes = static_cast<std::uint32_t>(descriptor.specific[0]);
    WordWriter writer(descriptor.destination, transfer);
    std::int64_t last = -1;
    CompletionStatus status = CompletionStatus::kSuccess;
    // The transfer counts the bytes of the record.
    for (std::uint64_t at = 0; at < bytes && status == CompletionStatus::kSuccess;) {
        const std::size_t chunk = std::min<std::uint64_t>(bytes - at, kChunkEntries);
        if (!transfer.next_block(descriptor.source, chunk)) break;
        if (transfer.load(descriptor.source + at, entries, chunk) < chunk) break;
        for (const std::byte* entry = entries; entry < entries + chunk; entry += kDeltaEntryBytes) {
            const std::uint16_t number = number_at(entry);
            if (number <= last) status = CompletionStatus::kDeltaOrder;
            if (std::uint64_t{number} * kDeltaWordBytes >= descriptor.size)
                status = CompletionStatus::kDeltaOffset;
            if (status != CompletionStatus::kSuccess || !writer.add(entry)) break;
            last = number;
        }
        // Also those before an entry that is wrong; the buffer holds them no longer.
        if (!writer.flush()) break;
        at += chunk;
    }
    if (transfer.stopped()) return to_repeat(transfer);
    Outcome outcome = transfer.outcome();
    outcome.bytes_completed = static_cast<std::uint32_t>(transfer.done());
    if (status != CompletionStatus::kSuccess) outcome.status = static_cast<std::uint8_t>(status);
    return outcome;
}

}  // namespace migrate::accel::softdsa
