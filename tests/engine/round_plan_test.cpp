#include "engine/send/round_plan.hpp"

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

std::vector<PageRange> walk(const RoundPlan& plan) {
    std::vector<PageRange> pages;
    while (const auto span = plan.claim()) {
        const PlannedPages planned = plan.pages_of(kRam);
        const std::uint64_t end = span->pages.end();
        for (std::uint64_t page = planned.next_planned(span->pages.first, end); page < end;) {
            const std::uint64_t next = planned.next_unplanned(page, end);
            memory::append_pages({page, next - page}, pages);
            page = planned.next_planned(next, end);
        }
    }
    return pages;
}

TEST_CASE("the pages that the receiver has are no part of the first round") {
    const auto reused = bitmap_of({{0, 5}, {100, kPages - 100}});
    const RoundPlan plan = RoundPlan::all(kRegions, 1).without(reused);
    CHECK(plan.pages() == 95);
    CHECK(walk(plan) == std::vector<PageRange>{{5, 95}});
}

}  // namespace
}  // namespace migrate::engine
