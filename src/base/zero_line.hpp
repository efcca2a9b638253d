// SPDX-License-Identifier: Apache-2.0
// Recognizes a cache line that has only zeros.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace migrate {

inline constexpr std::size_t kCacheLineBytes = 64;

// Reads kCacheLineBytes bytes at `line`, at any alignment.
inline bool is_zero_line(const std::byte* line) {
    std::uint64_t all = 0;
    for (std::size_t at = 0; at < kCacheLineBytes; at += sizeof all) {
        std::uint64_t word = 0;
        std::memcpy(&word, line + at, sizeof word);
        all |= word;
    }
    return all == 0;
}

}  // namespace migrate
