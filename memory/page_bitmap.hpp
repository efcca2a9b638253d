// SPDX-License-Identifier: Apache-2.0
// One bit per page; many threads set and test bits at once.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"

namespace migrate::memory {

// Lives in untouched anonymous memory: parts without a set bit cost no memory (otherwise 1 bit per
// 4 KiB page).
class PageBitmap {
  public:
    static Result<PageBitmap> create(std::uint64_t pages);

    std::uint64_t pages() const { return pages_; }
    // Sets the bits of `range`, which lies within pages(); returns the number of them that were
    // already set.
    std::uint64_t set(PageRange range);
    // Clears the bits; returns the number of them that were set before.
    std::uint64_t clear(PageRange range);
    bool test(std::uint64_t page) const;
    // Returns the number of set bits in `range`.
    std::uint64_t count(PageRange range) const;
    // Returns the first page in [page, end) whose bit equals `value`; `end` if there is none.
    std::uint64_t find(std::uint64_t page, std::uint64_t end, bool value) const;
    // Clears all bits and gives the memory back. No other thread may use the bitmap meanwhile.
    void reset();

  private:
    PageBitmap(Mapping words, std::uint64_t pages) : words_(std::move(words)), pages_(pages) {}
    std::atomic<std::uint64_t>& word(std::uint64_t index) const;

    Mapping words_;
    std::uint64_t pages_ = 0;
};

}  // namespace migrate::memory
