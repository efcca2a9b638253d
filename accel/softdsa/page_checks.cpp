// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/page_checks.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "accel/softdsa/guarded_memory.hpp"

namespace migrate::accel::softdsa {
namespace {

using dsa::Descriptor;
using dsa::Opcode;
using user_memory::kMostPieces;
using user_memory::kPageBytes;

// 16 bytes in one register of every x86-64, at any address.
using Vector [[gnu::vector_size(16), gnu::aligned(1), gnu::may_alias]] = std::uint64_t;
constexpr std::size_t kStep = 8 * sizeof(Vector);

bool is_within_page(const Descriptor& descriptor) {
    return descriptor.size <= kPageBytes &&
           descriptor.source % kPageBytes + descriptor.size <= kPageBytes;
}

std::uint64_t word_at(const std::byte* data) {
    std::uint64_t word = 0;
    std::memcpy(&word, data, sizeof word);
    return word;
}

// Returns the number of bytes from the first on that equal the repeated pattern.
std::size_t equal_bytes(const std::byte* data, std::size_t bytes, std::uint64_t pattern) {
    const Vector wanted{pattern, pattern};
    std::size_t at = 0;
    for (; at + kStep <= bytes; at += kStep) {
        const auto* const step = reinterpret_cast<const Vector*>(data + at);
        Vector different = step[0] ^ wanted;
        for (std::size_t i = 1; i < kStep / sizeof(Vector); ++i) different |= step[i] ^ wanted;
        if ((different[0] | different[1]) != 0) break;
    }
    for (; at + sizeof pattern <= bytes; at += sizeof pattern) {
        const std::uint64_t different = word_at(data + at) ^ pattern;
        if (different != 0) return at + static_cast<std::size_t>(std::countr_zero(different)) / 8;
    }
    // The low bytes of the pattern stand for the tail.
    for (std::size_t i = 0; at < bytes; ++at, ++i) {
        if (data[at] != static_cast<std::byte>(pattern >> (8 * i))) return at;
    }
    return bytes;
}

}  // namespace

PageChecks::PageChecks()
    : copies_(std::make_unique_for_overwrite<std::byte[]>(  // NOLINT(*-avoid-c-arrays)
          kMostPieces * kPageBytes)) {}

std::size_t PageChecks::collect(std::span<const Descriptor> list, const QueueConfig& queue) {
    constexpr std::uint32_t kOther =
        dsa::kFlagBlockOnFault | dsa::kFlagFence | dsa::kFlagCheckResult;
    std::size_t count = 0;
    for (; count < std::min(list.size(), kMostPieces); ++count) {
        const Descriptor& each = list[count];
        if (each.opcode() != Opcode::kCompval || (each.flags() & kOther) != 0 ||
            !is_within_page(each) || check(each, queue, Place::kBatch).failed()) {
            break;
        }
        pieces_[count] = {each.source, copies_.get() + count * kPageBytes, each.size};
    }
    return count;
}

// Returns how many of the pieces, from the first on, are on resident pages.
std::size_t PageChecks::resident(std::size_t count) const {
    std::size_t first = 0;
    while (first < count) {
        // Pieces that follow one another are looked up together.
        std::size_t end = first + 1;
        std::uint64_t next = pieces_[first].address + pieces_[first].bytes;
        while (end < count && pieces_[end].address == next) next += pieces_[end++].bytes;
        std::size_t bytes =
            user_memory::resident(pieces_[first].address, next - pieces_[first].address);
        for (; first < end; ++first) {
            if (bytes < pieces_[first].bytes) return first;
            bytes -= pieces_[first].bytes;
        }
    }
    return count;
}

// Sets the outcomes of the first pieces; returns the number of those that could be read.
std::size_t PageChecks::compare_in_place(std::span<const Descriptor> list) {
    for (std::size_t i = 0; i < list.size(); ++i) {
        const auto equal =
            guarded::equal_bytes(pieces_[i].address, pieces_[i].bytes, list[i].destination);
        if (!equal) return i;
        set_outcome(i, *equal);
    }
    return list.size();
}

std::size_t PageChecks::compare_copies(std::span<const Descriptor> list) {
    const std::size_t count = user_memory::read_pieces({pieces_.data(), list.size()});
    for (std::size_t i = 0; i < count; ++i)
        set_outcome(i, equal_bytes(pieces_[i].copy, pieces_[i].bytes, list[i].destination));
    return count;
}

void PageChecks::set_outcome(std::size_t i, std::size_t equal) {
    Outcome& outcome = outcomes_[i] = {};
    outcome.transferred = equal;
    if (equal == pieces_[i].bytes) return;
    outcome.result = 1;
    outcome.bytes_completed = static_cast<std::uint32_t>(equal);
}

std::span<const Outcome> PageChecks::execute(std::span<const Descriptor> list,
                                             const QueueConfig& queue) {
    const std::size_t present = resident(collect(list, queue));
    if (present == 0) return {};
    list = list.first(present);
    const auto odd = std::ranges::find_if(
        list, [](const Descriptor& each) { return each.size % guarded::kStepBytes != 0; });
    const auto even = static_cast<std::size_t>(odd - list.begin());
    const std::size_t count = even != 0 && guarded::is_usable() ? compare_in_place(list.first(even))
                                                                : compare_copies(list);
    return {outcomes_.data(), count};
}

}  // namespace migrate::accel::softdsa
