// SPDX-License-Identifier: Apache-2.0
#include "engine/postcopy/page_queue.hpp"

#include <thread>
#include <vector>

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::engine {
namespace {

constexpr RegionId kRam{0};
constexpr RegionId kVideo{1};
constexpr std::uint64_t kPages = 1000;

const std::vector<RegionInfo>& regions() {
    static const std::vector<RegionInfo> kRegions{{"ram", kPages * kPageSize},
                                                  {"video", kPages * kPageSize}};
    return kRegions;
}

std::unique_ptr<PageQueue> make_queue() { return must(PageQueue::create(regions())); }

// Takes what next() offers.
PageQueue::Span take_next(PageQueue& queue, std::uint64_t most) {
    const auto span = queue.next(most);
    REQUIRE(span);
    REQUIRE(queue.take(span->region, span->pages) == span->pages.count);
    return *span;
}

TEST_CASE("pages come in order, in runs without a gap and of limited length") {
    const auto queue = make_queue();
    CHECK(queue->add(kRam, {10, 5}) == 5);
    CHECK(queue->add(kRam, {12, 5}) == 2);
    CHECK(queue->add(kVideo, {0, 1}) == 1);
    CHECK(queue->pages() == 8);
    CHECK(take_next(*queue, 4).pages == PageRange{10, 4});
    CHECK(take_next(*queue, 4).pages == PageRange{14, 3});
    CHECK(take_next(*queue, 4).region == kVideo);
    CHECK_FALSE(queue->next(4));
    CHECK(queue->pages() == 0);
}

TEST_CASE("a page that the guest waits for is taken at once, and the others follow from there") {
    const auto queue = make_queue();
    queue->add(kRam, {0, kPages});
    queue->add(kVideo, {0, kPages});
    CHECK(take_next(*queue, 8).pages == PageRange{0, 8});
    CHECK(queue->take_urgent(kVideo, 500));
    CHECK_FALSE(queue->take_urgent(kVideo, 500));
    CHECK_FALSE(queue->take_urgent(kRam, 3));
    const PageQueue::Span next = take_next(*queue, 8);
    CHECK(next.region == kVideo);
    CHECK(next.pages == PageRange{501, 8});
}

TEST_CASE("what is before the cursor comes at the end") {
    const auto queue = make_queue();
    queue->add(kRam, {0, 10});
    CHECK(queue->take_urgent(kRam, 4));
    CHECK(take_next(*queue, 100).pages == PageRange{5, 5});
    CHECK(take_next(*queue, 100).pages == PageRange{0, 4});
    CHECK_FALSE(queue->next(100));
}

TEST_CASE("a run that was offered is taken up to the first page that is gone") {
    const auto queue = make_queue();
    queue->add(kRam, {0, 10});
    const auto offered = queue->next(10);
    REQUIRE(offered);
    CHECK(queue->take_urgent(kRam, 3));
    CHECK(queue->take(kRam, offered->pages) == 3);
    CHECK(queue->take(kRam, {3, 1}) == 0);
    // The cursor stays where the guest is.
    CHECK(take_next(*queue, 10).pages == PageRange{4, 6});
}

TEST_CASE("the parts of a range that are not in the queue are told") {
    const auto queue = make_queue();
    queue->add(kRam, {10, 5});
    CHECK(queue->absent(kRam, {8, 10}) == std::vector<PageRange>{{8, 2}, {15, 3}});
    CHECK(queue->absent(kRam, {10, 5}).empty());
    queue->clear();
    CHECK(queue->pages() == 0);
    CHECK(queue->absent(kRam, {10, 5}) == std::vector<PageRange>{{10, 5}});
}

TEST_CASE("two threads take every page exactly once") {
    const auto queue = make_queue();
    queue->add(kRam, {0, kPages});
    queue->add(kVideo, {0, kPages});
    std::uint64_t urgent = 0;
    std::thread thread([&] {
        for (std::uint64_t i = 0; i < kPages; ++i) {
            if (queue->take_urgent(kRam, i * 7 % kPages)) ++urgent;
        }
    });
    std::uint64_t bulk = 0;
    while (const auto next = queue->next(16)) bulk += queue->take(next->region, next->pages);
    thread.join();
    CHECK(urgent + bulk == 2 * kPages);
}

}  // namespace
}  // namespace migrate::engine
