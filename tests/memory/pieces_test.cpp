// SPDX-License-Identifier: Apache-2.0
#include "memory/pieces.hpp"

#include <atomic>
#include <vector>

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::memory {
namespace {

TEST_CASE("every page is in exactly one piece") {
    for (const std::uint64_t pages : {0U, 1U, 7U, 8U, 9U, 1000U}) {
        std::vector<std::atomic<int>> seen(pages);
        must(for_each_piece("test", pages, 8, [&](PageRange piece) -> Status {
            for (std::uint64_t page = piece.first; page < piece.end(); ++page) ++seen[page];
            return {};
        }));
        for (const auto& count : seen) CHECK(count == 1);
    }
}

TEST_CASE("the error of the lowest pages is reported") {
    for (int repeat = 0; repeat < 100; ++repeat) {
        const Status status = for_each_piece("test", 100, 1, [](PageRange piece) -> Status {
            if (piece.first < 13) return {};
            return make_error("page {}", piece.first);
        });
        REQUIRE(message_of(status) == "page 13");
    }
}

}  // namespace
}  // namespace migrate::memory
