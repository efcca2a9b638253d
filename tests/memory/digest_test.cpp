// SPDX-License-Identifier: Apache-2.0
#include "memory/digest.hpp"

#include <cstring>
#include <random>
#include <vector>

#include "catch.hpp"

namespace migrate::memory {
namespace {

constexpr unsigned kDigestSeed = 11;

std::vector<std::byte> random_pages(std::uint64_t pages) {
    std::mt19937_64 random(kDigestSeed);
    std::vector<std::byte> memory(pages * kPageSize);
    for (std::size_t at = 0; at < memory.size(); at += 8) {
        const std::uint64_t value = random();
        std::memcpy(memory.data() + at, &value, sizeof value);
    }
    return memory;
}

TEST_CASE("the digest of zero pages is zero wherever they are") {
    const std::vector<std::byte> memory(4 * kPageSize);
    CHECK(digest_pages(memory, {0, 4}) == Digest{});
    CHECK(digest_pages(memory, {0, 4}).hex() == "00000000000000000000000000000000");
}

TEST_CASE("a single byte anywhere in a page changes the digest") {
    std::vector<std::byte> memory(kPageSize);
    for (std::size_t at = 0; at < kPageSize; at += 61) {
        memory[at] = std::byte{1};
        CHECK(digest_pages(memory, {0, 1}) != Digest{});
        memory[at] = std::byte{0};
    }
}

TEST_CASE("digests of parts add up to the digest of the whole in any order") {
    INFO("seed " << kDigestSeed);
    const auto memory = random_pages(9);
    Digest parts = digest_pages(memory, {5, 4});
    parts += digest_pages(memory, {0, 2});
    parts += digest_pages(memory, {2, 3});
    CHECK(parts == digest_pages(memory, {0, 9}));
}

TEST_CASE("the same content at another page has another digest") {
    INFO("seed " << kDigestSeed);
    auto memory = random_pages(2);
    const Digest before = digest_pages(memory, {0, 2});
    std::swap_ranges(memory.begin(), memory.begin() + kPageSize, memory.begin() + kPageSize);
    CHECK(digest_pages(memory, {0, 2}) != before);
}

TEST_CASE("adding digests carries from the low half to the high one") {
    Digest sum{~std::uint64_t{0}, 1};
    sum += Digest{2, 3};
    CHECK(sum == Digest{1, 5});
    CHECK(sum.hex() == "00000000000000050000000000000001");
}

}  // namespace
}  // namespace migrate::memory
