// SPDX-License-Identifier: Apache-2.0
#include "engine/send/digest_meter.hpp"

#include <set>

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::engine {
namespace {

using std::chrono::milliseconds;

TEST_CASE("samples meet every block once before they meet one again") {
    const auto source = must(memory::open_page_source("anon:256M"));
    DigestMeter meter(*source, 1);
    std::set<std::uint64_t> seen;
    const std::uint64_t blocks = 256 * kMiB / kPageSize / BlockSample::kBlockPages;
    while (seen.size() < blocks) {
        const BlockSample sample = meter.next_sample();
        std::uint64_t pages = 0;
        sample.for_each(blocks * BlockSample::kBlockPages, [&](PageRange range) {
            CHECK(sample.has(range.first / BlockSample::kBlockPages));
            CHECK(seen.insert(range.first).second);
            pages += range.count;
        });
        CHECK(pages * kPageSize == 16 * kMiB);
    }
}

TEST_CASE("a sample ends with its region") {
    const BlockSample all;
    std::uint64_t pages = 0;
    all.for_each(BlockSample::kBlockPages + 3, [&](PageRange range) { pages += range.count; });
    CHECK(pages == BlockSample::kBlockPages + 3);
    all.for_each(0, [](PageRange) { FAIL("there is no page"); });
}

TEST_CASE("only what is readable is read, and it is counted") {
    const auto source = must(memory::open_page_source("anon:64M,fill=random"));
    DigestMeter meter(*source, 2);
    const BlockSample sample = meter.next_sample();
    std::uint64_t asked = 0;
    const auto half = [&](RegionId, PageRange range, auto& extents) -> Status {
        asked += range.count;
        extents.push_back({{range.first, range.count / 2}, true});
        extents.push_back({{range.first + range.count / 2, range.count - range.count / 2}, false});
        return {};
    };
    std::mutex mutex;
    must(meter.measure(sample,
                       [&](RegionId region, PageRange range, auto& extents) {
                           const std::scoped_lock lock(mutex);
                           return half(region, range, extents);
                       },
                       {}));
    CHECK(asked * kPageSize == 32 * kMiB);
    CHECK(meter.expect(64 * kMiB).count() > 0);
    CHECK(meter.expect(128 * kMiB) >= 2 * meter.expect(64 * kMiB) - Microseconds(2));
}

TEST_CASE("a failed sample and a stop are errors, and nothing to read is none") {
    const auto source = must(memory::open_page_source("anon:4M,fill=random"));
    DigestMeter meter(*source, 1);
    CHECK_FALSE(meter.measure(meter.next_sample(),
                              [](RegionId, PageRange, auto&) { return Status(Error("no")); }, {}));
    must(meter.measure(meter.next_sample(), [](RegionId, PageRange, auto&) { return Status(); },
                       {}));
    CHECK(meter.expect(kMiB).count() == 0);
    std::stop_source stop;
    stop.request_stop();
    const auto everything = [&](RegionId region, PageRange range, auto& extents) {
        return source->population(region, range, extents);
    };
    CHECK_FALSE(meter.measure(meter.next_sample(), everything, stop.get_token()));
}

TEST_CASE("the first sample, of memory that was never read, counts only until there is a second") {
    const auto source = must(memory::open_page_source("anon:4M"));
    DigestMeter meter(*source, 1);
    meter.add(kMiB, milliseconds(100));
    CHECK(meter.expect(kMiB) == milliseconds(200));
    meter.add(kMiB, milliseconds(10));
    CHECK(meter.expect(kMiB) == milliseconds(20));
}

TEST_CASE("one sample that a busy machine held up is not the truth") {
    const auto source = must(memory::open_page_source("anon:4M"));
    DigestMeter meter(*source, 1);
    for (int i = 0; i < 4; ++i) meter.add(kMiB, milliseconds(10));
    meter.add(kMiB, milliseconds(500));
    CHECK(meter.expect(kMiB) == milliseconds(20));
    // A machine that has become slower is, within a few samples.
    for (int i = 0; i < 3; ++i) meter.add(kMiB, milliseconds(50));
    CHECK(meter.expect(kMiB) >= milliseconds(100));
}

TEST_CASE("on a machine with too much to do the slow samples count") {
    const auto source = must(memory::open_page_source("anon:4M"));
    DigestMeter meter(*source, 1);
    meter.add(kMiB, milliseconds(10));
    meter.add(kMiB, milliseconds(10));
    meter.add(kMiB, milliseconds(18));
    // Two of them tell nothing about an outlier.
    CHECK(meter.expect(kMiB) == milliseconds(36));
    for (const int cost : {10, 17, 11, 12}) meter.add(kMiB, milliseconds(cost));
    CHECK(meter.expect(kMiB) == milliseconds(34));
}

TEST_CASE("samples take no more than a tenth of the time") {
    const auto source = must(memory::open_page_source("anon:4M"));
    DigestMeter meter(*source, 1);
    CHECK(meter.due({}));
    meter.add(kMiB, milliseconds(10));
    CHECK_FALSE(meter.due(milliseconds(99)));
    CHECK(meter.due(milliseconds(100)));
    meter.add(kMiB, milliseconds(10));
    CHECK_FALSE(meter.due(milliseconds(199)));
}

}  // namespace
}  // namespace migrate::engine
