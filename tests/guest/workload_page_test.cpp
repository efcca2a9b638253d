// SPDX-License-Identifier: Apache-2.0
#include "guest/workload_page.hpp"

#include <algorithm>

#include "catch.hpp"

namespace migrate::guest {
namespace {

struct alignas(64) Page {
    std::array<std::byte, kPageSize> bytes{};
};

Page written(PageWrite write, std::uint64_t seed) {
    Page page;
    write_page(page.bytes.data(), write, seed);
    return page;
}

TEST_CASE("a page tells its write") {
    for (const PageWrite write : {PageWrite{0, 0}, PageWrite{0, 1}, PageWrite{4711, 17},
                                  PageWrite{UINT64_MAX, UINT64_MAX}}) {
        const Page page = written(write, 3);
        CHECK(read_page(page.bytes, 3) == write);
        CHECK_FALSE(read_page(page.bytes, 4));
        CHECK(page.bytes != kZeroPage);
    }
    CHECK_FALSE(read_page(kZeroPage, 3));
}

TEST_CASE("a page of two writes is never taken for one of them") {
    const Page old = written({5, 1}, 3);
    const Page fresh = written({5, 2}, 3);
    for (std::size_t at = 8; at < kPageSize; at += 8) {
        for (const auto& [head, tail] : {std::pair{&old, &fresh}, std::pair{&fresh, &old}}) {
            Page torn = *tail;
            std::copy_n(head->bytes.begin(), at, torn.bytes.begin());
            REQUIRE_FALSE(read_page(torn.bytes, 3));
        }
    }
}

TEST_CASE("pages of different writes have no word in common") {
    const Page a = written({5, 1}, 3);
    const Page b = written({5, 2}, 3);
    for (std::size_t at = 16; at < kPageSize; at += 8) {
        REQUIRE_FALSE(std::equal(a.bytes.begin() + static_cast<std::ptrdiff_t>(at),
                                 a.bytes.begin() + static_cast<std::ptrdiff_t>(at) + 8,
                                 b.bytes.begin() + static_cast<std::ptrdiff_t>(at)));
    }
}

}  // namespace
}  // namespace migrate::guest
