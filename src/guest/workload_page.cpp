// SPDX-License-Identifier: Apache-2.0
#include "guest/workload_page.hpp"

#include <xxhash.h>

#include <cstring>

#include "base/splitmix64.hpp"

namespace migrate::guest {
namespace {

constexpr std::size_t kWord = sizeof(std::uint64_t);
// The step is odd, so that the sequence has no period within a page.
constexpr std::uint64_t kStep = 0x9E3779B97F4A7C15U;

// Two words per vector of the x86-64 baseline; without this type GCC 12 emits scalar code.
using Pair [[gnu::vector_size(16), gnu::may_alias]] = std::uint64_t;

}  // namespace

__attribute__((no_sanitize("thread"))) void write_page(std::byte* to, PageWrite write,
                                                       std::uint64_t seed) {
    const std::uint64_t key = splitmix64(splitmix64(splitmix64(seed) + write.page) + write.number);
    auto* pairs = reinterpret_cast<Pair*>(to);
    // Word 0 gets its final value below, after the other words are written.
    pairs[0] = Pair{0, write.page};
    pairs[1] = Pair{write.number, key};
    Pair next{key + kStep, key + 2 * kStep};
    for (std::size_t i = 2; i < kPageSize / sizeof(Pair); ++i) {
        pairs[i] = next;
        next += 2 * kStep;
    }
    pairs[0] = Pair{XXH3_64bits(to + kWord, kPageSize - kWord), write.page};
}

std::optional<PageWrite> read_page(std::span<const std::byte, kPageSize> page, std::uint64_t seed) {
    PageWrite write;
    std::memcpy(&write.page, page.data() + kWord, kWord);
    std::memcpy(&write.number, page.data() + 2 * kWord, kWord);
    alignas(sizeof(Pair)) std::array<std::byte, kPageSize> whole;
    write_page(whole.data(), write, seed);
    if (std::memcmp(whole.data(), page.data(), kPageSize) != 0) return std::nullopt;
    return write;
}

}  // namespace migrate::guest
