// SPDX-License-Identifier: Apache-2.0
#include "memory/digest.hpp"

#include <xxhash.h>

#include "base/zero_line.hpp"

namespace migrate::memory {
bool is_zero_page(const std::byte* page) {
    for (std::size_t at = 0; at < kPageSize; at += kCacheLineBytes) {
        if (!is_zero_line(page + at)) return false;
    }
    return true;
}

Digest& Digest::operator+=(const Digest& other) {
    low += other.low;
    high += other.high + (low < other.low ? 1 : 0);
    return *this;
}

Digest& Digest::operator-=(const Digest& other) {
    high -= other.high + (low < other.low ? 1 : 0);
    low -= other.low;
    return *this;
}

std::string Digest::hex() const { return fmt::format("{:016x}{:016x}", high, low); }

Digest digest_content(const std::byte* content, PageRange pages) {
    Digest sum;
    for (std::uint64_t page = pages.first; page < pages.end(); ++page, content += kPageSize) {
        if (is_zero_page(content)) continue;
        const XXH128_hash_t hash = XXH3_128bits_withSeed(content, kPageSize, page);
        sum += Digest{hash.low64, hash.high64};
    }
    return sum;
}

Digest digest_pages(std::span<const std::byte> memory, PageRange pages) {
    return digest_content(memory.data() + pages.offset_bytes(), pages);
}

}  // namespace migrate::memory
