// SPDX-License-Identifier: Apache-2.0
#include "engine/send/round_plan.hpp"

#include <algorithm>
#include <vector>

#include "catch.hpp"
#include "memory/sink/known_pages.hpp"
#include "tests/support/must.hpp"

namespace migrate::engine {
namespace {

constexpr std::uint64_t kPages = 2000;
constexpr RegionId kRam{0};
const std::vector<RegionInfo> kRegions{{"ram", kPages* kPageSize}};

std::vector<memory::PageBitmap> bitmap_of(std::initializer_list<PageRange> pages) {
    std::vector<memory::PageBitmap> bitmaps;
    bitmaps.push_back(must(memory::PageBitmap::create(kPages)));
    for (const PageRange& range : pages) bitmaps.front().set(range);
    return bitmaps;
}

// Finds the given pages, and notes where it looked.
class Found final : public WrittenAgain {
  public:
    explicit Found(std::initializer_list<PageRange> pages) : pages_(pages) {}
    Status find(RegionId, PageRange part, memory::PageBitmap& again) override {
        looked.push_back(part);
        for (const PageRange& range : pages_) {
            const std::uint64_t first = std::max(range.first, part.first);
            const std::uint64_t end = std::min(range.end(), part.end());
            if (first < end) again.set({first, end - first});
        }
        return {};
    }
    std::vector<PageRange> looked;

  private:
    std::vector<PageRange> pages_;
};

// The pages that are sent, and the number of those that are postponed.
struct Sent {
    std::vector<PageRange> pages;
    std::uint64_t postponed = 0;
    std::size_t parts = 0;
};

Sent walk(const RoundPlan& plan) {
    Sent sent;
    const PlannedPages planned = plan.pages_of(kRam);
    while (const auto span = plan.claim()) {
        WorkSpan rest = *span;
        while (rest.pages.count != 0) {
            const RoundPlan::Part part = must(plan.next_part(rest));
            sent.postponed += part.postponed;
            ++sent.parts;
            REQUIRE(part.pages.first == rest.pages.first);
            const std::uint64_t end = part.pages.end();
            REQUIRE(end <= rest.pages.end());
            for (std::uint64_t page = planned.next_planned(rest.pages.first, end); page < end;) {
                const std::uint64_t next = planned.next_unplanned(page, end);
                memory::append_pages({page, next - page}, sent.pages);
                page = planned.next_planned(next, end);
            }
            rest.pages = {end, rest.pages.end() - end};
        }
    }
    return sent;
}

TEST_CASE("pages that were written again are postponed, and only planned ones count") {
    const auto written = bitmap_of({{10, 10}, {600, 4}});
    auto postponed = bitmap_of({});
    Found found({{0, 12}, {15, 1}, {603, 100}});
    const RoundPlan plan =
        RoundPlan::written(kRegions, 1, written, {}).postponing(found, postponed);
    CHECK(plan.pages() == 14);
    const Sent sent = walk(plan);
    CHECK(sent.postponed == 4);
    CHECK(sent.pages == std::vector<PageRange>{{12, 3}, {16, 4}, {600, 3}});
}

TEST_CASE("a look is for 2 MiB at most, and for no more than the planned pages of one run") {
    const auto written = bitmap_of({{0, 600}, {1100, 1}, {1200, 2}, {1700, 1}});
    auto postponed = bitmap_of({});
    Found found({});
    const Sent sent =
        walk(RoundPlan::written(kRegions, 1, written, {}).postponing(found, postponed));
    CHECK(sent.postponed == 0);
    CHECK(sent.pages == std::vector<PageRange>{{0, 600}, {1100, 1}, {1200, 2}, {1700, 1}});
    CHECK(found.looked == std::vector<PageRange>{{0, 512}, {512, 88}, {1100, 436}, {1700, 1}});
}

TEST_CASE("few planned pages are sent together, and many in parts") {
    const auto parts = [](std::initializer_list<PageRange> pages) {
        const auto written = bitmap_of(pages);
        auto postponed = bitmap_of({});
        Found found({});
        // With so few workers a span has all of the memory's first half.
        const RoundPlan plan =
            RoundPlan::written(kRegions, 1, written, {}).postponing(found, postponed);
        return walk(plan).parts;
    };
    CHECK(parts({{0, kPages}}) == 4);
    CHECK(parts({{0, 1}, {600, 1}, {1100, 1}, {1900, 1}}) == 3);
}

TEST_CASE("a plan without a finder postpones nothing") {
    const auto written = bitmap_of({{10, 10}});
    const Sent sent = walk(RoundPlan::written(kRegions, 1, written, {}));
    CHECK(sent.postponed == 0);
    CHECK(sent.pages == std::vector<PageRange>{{10, 10}});
}

TEST_CASE("a round may have no page left to send") {
    const auto written = bitmap_of({{10, 10}});
    auto postponed = bitmap_of({});
    Found found({{0, kPages}});
    const Sent sent =
        walk(RoundPlan::written(kRegions, 1, written, {}).postponing(found, postponed));
    CHECK(sent.postponed == 10);
    CHECK(sent.pages.empty());
}

TEST_CASE("a round that is continued postpones further pages, and counts each of them once") {
    const auto written = bitmap_of({{0, 100}});
    auto postponed = bitmap_of({});
    Found first({{0, 10}});
    Found then({{5, 20}, {60, 1}});
    const RoundPlan plan =
        RoundPlan::written(kRegions, 1, written, {}).postponing(first, postponed);
    CHECK(walk(plan).postponed == 10);
    const auto arrived = bitmap_of({{20, 30}});
    const RoundPlan rest = plan.without(arrived);
    CHECK(rest.pages() == 60);
    // The same finder looks again.
    const Sent again = walk(rest);
    CHECK(again.postponed == 0);
    CHECK(again.pages == std::vector<PageRange>{{10, 10}, {50, 50}});
    const Sent later = walk(rest.postponing(then, postponed));
    CHECK(later.postponed == 11);
    CHECK(later.pages == std::vector<PageRange>{{50, 10}, {61, 39}});
}

TEST_CASE("the pages that the receiver has are no part of the first round") {
    const auto reused = bitmap_of({{0, 5}, {100, kPages - 100}});
    const RoundPlan plan = RoundPlan::all(kRegions, 1).without(reused);
    CHECK(plan.pages() == 95);
    CHECK(walk(plan).pages == std::vector<PageRange>{{5, 95}});
}

}  // namespace
}  // namespace migrate::engine
