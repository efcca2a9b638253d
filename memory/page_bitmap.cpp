// SPDX-License-Identifier: Apache-2.0
#include "memory/page_bitmap.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <new>

namespace migrate::memory {
namespace {

// All operations are relaxed. A bit guards nothing by itself: within a round a page belongs to one
// worker, and the barrier between rounds (a mutex) makes one round's bits visible to the next.
// Atomic words are needed because neighbouring pages share one.
constexpr auto kOrder = std::memory_order_relaxed;
constexpr std::uint64_t kBits = 64;

// Calls visit(word index, mask of the range's bits in it) for each word of the range.
template <typename Visit>
void for_each_word(PageRange range, Visit visit) {
    std::uint64_t page = range.first;
    while (page < range.end()) {
        const std::uint64_t bit = page % kBits;
        const std::uint64_t count = std::min(kBits - bit, range.end() - page);
        const std::uint64_t ones =
            count == kBits ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
        visit(page / kBits, ones << bit);
        page += count;
    }
}

std::uint64_t count_bits(std::uint64_t word) {
    return static_cast<std::uint64_t>(std::popcount(word));
}

}  // namespace

Result<PageBitmap> PageBitmap::create(std::uint64_t pages) {
    static_assert(sizeof(std::atomic<std::uint64_t>) == sizeof(std::uint64_t));
    const std::uint64_t words =
        std::max<std::uint64_t>(pages / kBits + (pages % kBits != 0 ? 1 : 0), 1);
    MIGRATE_ASSIGN(Mapping mapping,
                   Mapping::create({.size = words * sizeof(std::uint64_t),
                                    .protection = PROT_READ | PROT_WRITE,
                                    .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                                    .what = fmt::format("a bitmap of {} pages", pages)}));
    return PageBitmap(std::move(mapping), pages);
}

std::atomic<std::uint64_t>& PageBitmap::word(std::uint64_t index) const {
    auto* words = static_cast<std::atomic<std::uint64_t>*>(static_cast<void*>(words_.data()));
    return *std::launder(words + index);
}

std::uint64_t PageBitmap::set(PageRange range) {
    std::uint64_t before = 0;
    for_each_word(range, [&](std::uint64_t index, std::uint64_t mask) {
        before += count_bits(word(index).fetch_or(mask, kOrder) & mask);
    });
    return before;
}

std::uint64_t PageBitmap::clear(PageRange range) {
    std::uint64_t before = 0;
    for_each_word(range, [&](std::uint64_t index, std::uint64_t mask) {
        // A word without such a bit is not written, so untouched memory stays untouched.
        if ((word(index).load(kOrder) & mask) == 0) return;
        before += count_bits(word(index).fetch_and(~mask, kOrder) & mask);
    });
    return before;
}

bool PageBitmap::test(std::uint64_t page) const {
    return ((word(page / kBits).load(kOrder) >> (page % kBits)) & 1U) != 0;
}

std::uint64_t PageBitmap::count(PageRange range) const {
    std::uint64_t set_bits = 0;
    for_each_word(range, [&](std::uint64_t index, std::uint64_t mask) {
        set_bits += count_bits(word(index).load(kOrder) & mask);
    });
    return set_bits;
}

std::uint64_t PageBitmap::find(std::uint64_t page, std::uint64_t end, bool value) const {
    while (page < end) {
        const std::uint64_t bits = word(page / kBits).load(kOrder);
        const std::uint64_t wanted = (value ? bits : ~bits) >> (page % kBits);
        if (wanted != 0) {
            return std::min(page + static_cast<std::uint64_t>(std::countr_zero(wanted)), end);
        }
        page += kBits - page % kBits;
    }
    return end;
}

void PageBitmap::reset() {
    if (::madvise(words_.data(), words_.size(), MADV_DONTNEED) != 0) clear({0, pages_});
}

}  // namespace migrate::memory
