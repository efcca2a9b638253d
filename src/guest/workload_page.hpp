// What the workload writes: a whole page at a time, of which everything follows from the page's
// number, the write's number and the guest's seed. Invariant: a page that is a mixture of two
// writes, or damaged, has a wrong checksum.
//
//   word 0    XXH3-64 of the other 511
//   word 1    the page's number
//   word 2    the number of the write, among those of its vCPU; 0 for the fill
//   word 3 …  the body: an arithmetic sequence that begins with a hash of page, write and seed
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/units.hpp"

namespace migrate::guest {

struct PageWrite {
    std::uint64_t page = 0;
    std::uint64_t number = 0;
    friend bool operator==(const PageWrite&, const PageWrite&) = default;
};

inline constexpr std::array<std::byte, kPageSize> kZeroPage{};

// `to` is a page, aligned to 16 bytes. It may be read meanwhile, by the kernel or by the sender's
// scanners; who reads it is told by the dirty tracker that it changed, so that the race does no
// harm, and ThreadSanitizer is not to look at it.
void write_page(std::byte* to, PageWrite write, std::uint64_t seed);

// The write that a page holds, if it holds a whole one.
std::optional<PageWrite> read_page(std::span<const std::byte, kPageSize> page, std::uint64_t seed);

}  // namespace migrate::guest
