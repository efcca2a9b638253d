// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/page_placer.hpp"

#include <atomic>
#include <thread>

#include "catch.hpp"
#include "memory/sink/null_sink.hpp"
#include "tests/support/must.hpp"
#include "tests/support/ram_region.hpp"
#include "tests/support/recording_sink.hpp"

namespace migrate::memory {
namespace {

constexpr RegionId kVideo{1};
constexpr std::uint64_t kRegionPages = 256;

struct Fixture {
    Fixture() {
        must(sink.prepare(regions));
        placer = must(PagePlacer::create(sink, regions, 0));
    }
    Status accept(RegionId region, std::vector<PageRun> runs) {
        return placer->accept(region, runs, WrittenBy::kProgram, {}, to);
    }
    void end_round() {
        // The pages a case does not care about.
        for (const RegionId region : {kRam, kVideo}) {
            for (std::uint64_t page = 0; page < kRegionPages; ++page) {
                static_cast<void>(accept(region, {{{page, 1}, PageKind::kUnpopulated}}));
            }
        }
        must(placer->finish_full_round());
    }

    std::vector<RegionInfo> regions{{"ram", kRegionPages* kPageSize},
                                    {"video", kRegionPages* kPageSize}};
    RecordingSink sink;
    std::unique_ptr<PagePlacer> placer;
    Destinations to;
};

TEST_CASE("normal pages are prefaulted and get their places in order, neighbours as one") {
    Fixture test;
    must(test.accept(kRam, {{{4, 2}, PageKind::kNormal},
                            {{6, 1}, PageKind::kNormal},
                            {{7, 1}, PageKind::kZero},
                            {{8, 3}, PageKind::kNormal}}));
    REQUIRE(test.to.parts.size() == 2);
    std::byte* const ram = test.sink.memory(kRam).data();
    CHECK(test.to.parts[0].iov_base == ram + 4 * kPageSize);
    CHECK(test.to.parts[0].iov_len == 3 * kPageSize);
    CHECK(test.to.parts[1].iov_base == ram + 8 * kPageSize);
    CHECK(test.to.parts[1].iov_len == 3 * kPageSize);
    CHECK(test.sink.take_prefaulted() == std::vector<PageRange>{{4, 2}, {6, 1}, {8, 3}});
}

TEST_CASE("short runs that a system call writes are left to its faults, long ones are prefaulted") {
    Fixture test;
    const std::vector<PageRun> runs{{{4, 2}, PageKind::kNormal}, {{100, 64}, PageKind::kNormal}};
    must(test.placer->accept(kRam, runs, WrittenBy::kSystemCall, {}, test.to));
    CHECK(test.to.parts.size() == 2);
    CHECK(test.sink.take_prefaulted() == std::vector<PageRange>{{100, 64}});
}

TEST_CASE("a page that could not be written is explained by what prefaulting says") {
    Fixture test;
    const std::vector<PageRun> runs{{{4, 2}, PageKind::kNormal}, {{8, 1}, PageKind::kZero}};
    CHECK(test.placer->explain(kRam, runs, Error("bad address")).message() == "bad address");
    CHECK(test.sink.take_prefaulted() == std::vector<PageRange>{{4, 2}});
}

TEST_CASE("fresh zero and unpopulated pages are left untouched") {
    Fixture test;
    must(test.accept(kRam, {{{0, 100}, PageKind::kZero}, {{100, 50}, PageKind::kUnpopulated}}));
    CHECK(test.to.parts.empty());
    CHECK(test.sink.take_prefaulted().empty());
    CHECK(test.sink.take_cleared().empty());
}

TEST_CASE("a zero run clears only the pages that were placed before, and only once") {
    Fixture test;
    must(test.accept(kRam, {{{10, 5}, PageKind::kNormal}, {{70, 1}, PageKind::kNormal}}));
    test.end_round();
    must(test.accept(kRam, {{{12, 100}, PageKind::kZero}}));
    CHECK(test.sink.take_cleared() == std::vector<PageRange>{{12, 3}, {70, 1}});
    test.end_round();
    test.sink.take_cleared();
    must(test.accept(kRam, {{{12, 100}, PageKind::kUnpopulated}}));
    CHECK(test.sink.take_cleared().empty());
}

TEST_CASE("a page placed before is not prefaulted again until it was cleared") {
    Fixture test;
    must(test.accept(kRam, {{{3, 2}, PageKind::kNormal}}));
    test.end_round();
    test.sink.take_prefaulted();
    must(test.accept(kRam, {{{3, 2}, PageKind::kNormal}}));
    CHECK(test.sink.take_prefaulted().empty());
    test.end_round();
    must(test.accept(kRam, {{{3, 2}, PageKind::kZero}}));
    test.end_round();
    must(test.accept(kRam, {{{3, 2}, PageKind::kNormal}}));
    CHECK(test.sink.take_prefaulted() == std::vector<PageRange>{{3, 2}});
}

TEST_CASE("a run with one fresh page among old ones is prefaulted") {
    Fixture test;
    must(test.accept(kRam, {{{3, 2}, PageKind::kNormal}}));
    test.end_round();
    test.sink.take_prefaulted();
    must(test.accept(kRam, {{{3, 3}, PageKind::kNormal}}));
    CHECK(test.sink.take_prefaulted() == std::vector<PageRange>{{3, 3}});
}

TEST_CASE("a page that comes twice in a round is refused by region and number") {
    Fixture test;
    must(test.accept(kVideo, {{{5, 10}, PageKind::kNormal}}));
    const Status again = test.accept(kVideo, {{{0, 8}, PageKind::kZero}});
    CHECK(message_of(again) == "page 5 of the region 'video' came twice in one round");
    CHECK(again.error().kind() == ErrorKind::kProtocol);
}

TEST_CASE("a page named twice by one packet is refused") {
    Fixture test;
    CHECK_FALSE(test.accept(kRam, {{{5, 2}, PageKind::kNormal}, {{6, 1}, PageKind::kNormal}}));
}

TEST_CASE("the same page number of two regions is not a duplicate") {
    Fixture test;
    must(test.accept(kRam, {{{5, 1}, PageKind::kNormal}}));
    must(test.accept(kVideo, {{{5, 1}, PageKind::kNormal}}));
}

TEST_CASE("a round in which a page did not come is refused by region and number") {
    Fixture test;
    must(test.accept(kRam, {{{0, kRegionPages}, PageKind::kZero}}));
    must(test.accept(kVideo,
                     {{{0, 9}, PageKind::kZero}, {{10, kRegionPages - 10}, PageKind::kNormal}}));
    const Status status = test.placer->finish_full_round();
    CHECK(message_of(status) == "page 9 of the region 'video' never came");
    CHECK(status.error().kind() == ErrorKind::kProtocol);
}

TEST_CASE("a round accepts any pages of the right number, of every kind and region") {
    Fixture test;
    must(test.accept(kRam, {{{3, 2}, PageKind::kNormal}, {{200, 10}, PageKind::kZero}}));
    must(test.accept(kVideo, {{{kRegionPages - 1, 1}, PageKind::kUnpopulated}}));
    must(test.placer->finish_round(13));
    // The next one begins with nothing accounted for.
    must(test.placer->finish_round(0));
    must(test.accept(kRam, {{{3, 2}, PageKind::kNormal}}));
    must(test.placer->finish_round(2));
}

TEST_CASE("a round of too few or too many pages is refused by the counts") {
    for (const std::uint64_t planned : {0U, 4U, 6U}) {
        Fixture test;
        must(test.accept(kRam, {{{3, 2}, PageKind::kNormal}}));
        must(test.accept(kVideo, {{{3, 3}, PageKind::kZero}}));
        const Status status = test.placer->finish_round(planned);
        CHECK(message_of(status) == "5 pages came in a round of " + std::to_string(planned));
        CHECK(status.error().kind() == ErrorKind::kProtocol);
    }
}

TEST_CASE("a page that comes twice is refused in a round of so many pages too") {
    Fixture test;
    test.end_round();
    must(test.accept(kRam, {{{3, 2}, PageKind::kNormal}}));
    CHECK_FALSE(test.accept(kRam, {{{4, 1}, PageKind::kNormal}}));
}

TEST_CASE("an error of the sink's prefault comes out of accept") {
    Fixture test;
    test.sink.fail_at(20);
    CHECK(message_of(test.accept(kRam, {{{16, 8}, PageKind::kNormal}})) == "no room for page 20");
}

TEST_CASE("a sink that discards gets bookkeeping and no destinations") {
    NullSink sink;
    const RegionInfo region{"ram", 100 * kGiB};
    auto placer = must(PagePlacer::create(sink, {&region, 1}, 2));
    Destinations to;
    const std::vector<PageRun> runs{{{0, 128}, PageKind::kNormal},
                                    {{128, region.pages() - 128}, PageKind::kUnpopulated}};
    must(placer->accept(kRam, runs, WrittenBy::kProgram, {}, to));
    CHECK(to.parts.empty());
    CHECK_FALSE(placer->accept(kRam, runs, WrittenBy::kProgram, {}, to));
    must(placer->finish_full_round());
    must(placer->accept(kRam, runs, WrittenBy::kProgram, {}, to));
}

TEST_CASE("threads that place neighbouring runs account for every page once") {
    RecordingSink sink;
    const RegionInfo region{"ram", 64 * kMiB};
    must(sink.prepare({&region, 1}));
    auto placer = must(PagePlacer::create(sink, {&region, 1}, 1));
    std::atomic<std::uint64_t> next{0};
    std::atomic<std::uint64_t> placed{0};
    std::atomic<int> errors{0};
    for (int round = 0; round < 2; ++round) {
        next = 0;
        {
            std::vector<std::jthread> threads;
            threads.reserve(4);
            for (int i = 0; i < 4; ++i) {
                threads.emplace_back([&] {
                    Destinations to;
                    for (std::uint64_t at = next++; at * 7 < region.pages(); at = next++) {
                        const PageRange range{at * 7,
                                              std::min<std::uint64_t>(7, region.pages() - at * 7)};
                        const PageKind kind = at % 3 == 0 ? PageKind::kZero : PageKind::kNormal;
                        const PageRun run{range, kind};
                        if (!placer->accept(kRam, {&run, 1}, WrittenBy::kProgram, {}, to)) ++errors;
                        for (const iovec& part : to.parts) placed += part.iov_len / kPageSize;
                    }
                });
            }
        }
        must(placer->finish_full_round());
    }
    CHECK(errors == 0);
    std::uint64_t expected = 0;
    for (std::uint64_t page = 0; page < region.pages(); ++page)
        expected += page / 7 % 3 == 0 ? 0U : 2U;
    CHECK(placed == expected);
}

}  // namespace
}  // namespace migrate::memory
