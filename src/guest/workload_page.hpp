// SPDX-License-Identifier: Apache-2.0
// The content that the workload writes: whole pages, computed only from the page's number, the
// write's number and the guest's seed. Invariant: a page that mixes two writes, or is damaged, has
// a wrong checksum.
//
//   word 0    XXH3-64 of the other 511
//   word 1    the page's number
//   word 2    the number of the write within its vCPU; 0 for the fill
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

// `to` is a page, aligned to 16 bytes. The kernel or the sender's scanners may read it meanwhile.
// The dirty tracker reports the change to the reader, so the race is harmless; ThreadSanitizer is
// told to ignore it.
void write_page(std::byte* to, PageWrite write, std::uint64_t seed);

// Returns the write that a page holds; none if the page does not hold one complete write.
std::optional<PageWrite> read_page(std::span<const std::byte, kPageSize> page, std::uint64_t seed);

}  // namespace migrate::guest
