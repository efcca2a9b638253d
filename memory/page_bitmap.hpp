// One bit per page, set and tested from many threads at once.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"

namespace migrate::memory {

// Lives in untouched anonymous memory: what is never set costs nothing (1 bit per 4 KiB page
// otherwise).
class PageBitmap {
  public:
    static Result<PageBitmap> create(std::uint64_t pages);

    std::uint64_t pages() const { return pages_; }
    // Sets the bits of `range`, which lies within pages(); returns how many of them were set
    // before.
    std::uint64_t set(PageRange range);
    // Clears the bits; returns how many of them were set before.
    std::uint64_t clear(PageRange range);
    bool test(std::uint64_t page) const;
    // How many bits of `range` are set.
    std::uint64_t count(PageRange range) const;
    // The first page at or after `page` and before `end` whose bit equals `value`; `end` if there
    // is none.
    std::uint64_t find(std::uint64_t page, std::uint64_t end, bool value) const;
    // Clears all; not to be called while others use it. Gives the memory back.
    void reset();

  private:
    PageBitmap(Mapping words, std::uint64_t pages) : words_(std::move(words)), pages_(pages) {}
    std::atomic<std::uint64_t>& word(std::uint64_t index) const;

    Mapping words_;
    std::uint64_t pages_ = 0;
};

}  // namespace migrate::memory
