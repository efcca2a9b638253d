// SPDX-License-Identifier: Apache-2.0
#include "engine/send/work_cursor.hpp"

#include <algorithm>
#include <thread>

#include "catch.hpp"

namespace migrate::engine {
namespace {

std::vector<RegionInfo> regions_of(std::initializer_list<std::uint64_t> pages) {
    std::vector<RegionInfo> regions;
    for (const std::uint64_t count : pages) regions.push_back({"ram", count * kPageSize});
    return regions;
}

// Every page of every region once: sorted, the claims join without gap or overlap.
void check_covers(std::vector<WorkSpan> claims, const std::vector<RegionInfo>& regions) {
    std::sort(claims.begin(), claims.end(), [](const WorkSpan& a, const WorkSpan& b) {
        return std::pair(a.region, a.pages.first) < std::pair(b.region, b.pages.first);
    });
    std::size_t i = 0;
    for (std::uint16_t region = 0; region < regions.size(); ++region) {
        std::uint64_t next = 0;
        for (; i < claims.size() && claims[i].region == RegionId{region}; ++i) {
            REQUIRE(claims[i].pages.first == next);
            REQUIRE(claims[i].pages.count > 0);
            REQUIRE(claims[i].pages.first % kPagesPerHugePage == 0);
            REQUIRE(claims[i].pages.size_bytes() <= 64 * kMiB);
            next = claims[i].pages.end();
        }
        REQUIRE(next == regions[region].pages());
    }
    REQUIRE(i == claims.size());
}

TEST_CASE("every page is claimed exactly once by many threads, in regions of any size") {
    const std::vector<std::vector<RegionInfo>> cases{regions_of({1}),
                                                     regions_of({511}),
                                                     regions_of({512}),
                                                     regions_of({513}),
                                                     regions_of({1, 1, 1}),
                                                     regions_of({100'001, 3, 512, 1025, 7'777'777}),
                                                     regions_of({25 * kGiB / kPageSize})};
    for (const auto& regions : cases) {
        for (const unsigned workers : {1U, 3U, 8U}) {
            WorkCursor cursor(regions, workers);
            std::vector<std::vector<WorkSpan>> claims(workers);
            {
                std::vector<std::jthread> threads;
                for (auto& own : claims) {
                    threads.emplace_back([&cursor, &own] {
                        while (const auto span = cursor.claim()) own.push_back(*span);
                    });
                }
            }
            std::vector<WorkSpan> all;
            for (const auto& own : claims) all.insert(all.end(), own.begin(), own.end());
            check_covers(std::move(all), regions);
            CHECK_FALSE(cursor.claim());
        }
    }
}

TEST_CASE("claims shrink towards the end, from 64 MiB to one huge page") {
    const auto regions = regions_of({4 * kGiB / kPageSize});
    WorkCursor cursor(regions, 4);
    std::vector<std::uint64_t> sizes;
    while (const auto span = cursor.claim()) sizes.push_back(span->pages.size_bytes());
    CHECK(sizes.front() == 64 * kMiB);
    CHECK(sizes.back() == kHugePageSize);
    CHECK(std::is_sorted(sizes.rbegin(), sizes.rend()));
}

TEST_CASE("without regions there is nothing to claim; no worker counts as one") {
    CHECK_FALSE(WorkCursor({}, 2).claim());
    const auto regions = regions_of({10});
    WorkCursor cursor(regions, 0);
    CHECK(cursor.claim()->pages == PageRange{0, 10});
    CHECK_FALSE(cursor.claim());
}

TEST_CASE("the rests of a round are claimed in small parts, so that every worker gets one") {
    const auto regions = regions_of({kGiB / kPageSize, 3});
    WorkCursor cursor(regions, 2, WorkCursor::Work::kRests);
    std::vector<WorkSpan> claims;
    while (const auto span = cursor.claim()) {
        CHECK(span->pages.size_bytes() <= 4 * kMiB);
        claims.push_back(*span);
    }
    check_covers(std::move(claims), regions);
}

}  // namespace
}  // namespace migrate::engine
