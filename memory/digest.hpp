// SPDX-License-Identifier: Apache-2.0
// The digest that both sides compare after the last byte: for each region the sum, modulo 2^128, of
// XXH3_128(page content, seed = page number) over the pages that are not zero. Zero pages add
// nothing, so memory that was never touched need not be read. The order of a sum does not matter,
// so threads can share the work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/error.hpp"
#include "base/units.hpp"

namespace migrate::memory {

struct Digest {
    std::uint64_t low = 0;
    std::uint64_t high = 0;

    Digest& operator+=(const Digest& other);
    Digest& operator-=(const Digest& other);
    friend bool operator==(const Digest&, const Digest&) = default;
    // 32 lower-case hexadecimal digits, high half first.
    std::string hex() const;
};

bool is_zero_page(const std::byte* page);
// The digest of `pages` of a region, whose content begins at `content`.
Digest digest_content(const std::byte* content, PageRange pages);
// The same for pages of a region mapped at `memory`. The pages must be present or readable
// without fault.
Digest digest_pages(std::span<const std::byte> memory, PageRange pages);

}  // namespace migrate::memory
