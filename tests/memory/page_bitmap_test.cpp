// SPDX-License-Identifier: Apache-2.0
#include "memory/page_bitmap.hpp"

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::memory {
namespace {

constexpr unsigned kBitmapSeed = 7;

TEST_CASE("a bitmap agrees with a plain vector of bools over random operations") {
    INFO("seed " << kBitmapSeed);
    std::mt19937_64 random(kBitmapSeed);
    constexpr std::uint64_t kPages = 1000;
    PageBitmap bitmap = must(PageBitmap::create(kPages));
    std::vector<bool> model(kPages);
    std::uint64_t wrong = 0;
    for (int turn = 0; turn < 3000; ++turn) {
        const std::uint64_t first = random() % kPages;
        const PageRange range{first, random() % (kPages - first + 1)};
        const bool value = random() % 2 == 0;
        std::uint64_t before = 0;
        for (std::uint64_t page = range.first; page < range.end(); ++page) {
            before += static_cast<std::uint64_t>(model[page]);
        }
        std::uint64_t found = range.first;
        while (found < range.end() && model[found] != value) ++found;
        wrong += bitmap.find(range.first, range.end(), value) != found;
        wrong += bitmap.count(range) != before;
        wrong += (value ? bitmap.set(range) : bitmap.clear(range)) != before;
        for (std::uint64_t page = range.first; page < range.end(); ++page) model[page] = value;
        wrong += bitmap.test(first) != model[first];
    }
    CHECK(wrong == 0);
}

TEST_CASE("a range of no pages changes nothing") {
    PageBitmap bitmap = must(PageBitmap::create(64));
    CHECK(bitmap.set({64, 0}) == 0);
    CHECK(bitmap.set({5, 0}) == 0);
    CHECK(bitmap.count({0, 64}) == 0);
    CHECK(bitmap.find(64, 64, false) == 64);
}

TEST_CASE(
    "threads that set neighbouring bits lose none, and each bit is new to exactly one of them") {
    constexpr std::uint64_t kPages = 50'000;
    PageBitmap bitmap = must(PageBitmap::create(kPages));
    std::atomic<std::uint64_t> set_before{0};
    {
        std::vector<std::jthread> threads;
        for (std::uint64_t i = 0; i < 4; ++i) {
            threads.emplace_back([&, i] {
                for (std::uint64_t page = i % 2; page < kPages; page += 2) {
                    set_before += bitmap.set({page, 1});
                }
            });
        }
    }
    CHECK(bitmap.count({0, kPages}) == kPages);
    CHECK(set_before == kPages);
}

TEST_CASE("reset clears every bit") {
    PageBitmap bitmap = must(PageBitmap::create(100'000));
    bitmap.set({0, 100'000});
    bitmap.reset();
    CHECK(bitmap.count({0, 100'000}) == 0);
}

TEST_CASE("a bitmap of a size no address space holds is an error") {
    CHECK_FALSE(PageBitmap::create(std::uint64_t{1} << 52U));
    CHECK_FALSE(PageBitmap::create(~std::uint64_t{0}));
}

}  // namespace
}  // namespace migrate::memory
