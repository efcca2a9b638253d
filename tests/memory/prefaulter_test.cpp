// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/prefaulter.hpp"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/ram_region.hpp"
#include "tests/support/recording_sink.hpp"

namespace migrate::memory {
namespace {

Status populate(Prefaulter& prefaulter, PageRange range) {
    return prefaulter.populate(kRam, std::span(&range, 1));
}

bool cover(const std::vector<PageRange>& pieces, PageRange range) {
    std::uint64_t next = range.first;
    for (const PageRange& piece : pieces) {
        if (piece.first != next) return false;
        next = piece.end();
    }
    return next == range.end();
}

TEST_CASE("a range is prefaulted whole, each page once, with any number of helpers") {
    for (const unsigned helpers : {0U, 1U, 3U}) {
        const RecordingSink sink;
        Prefaulter prefaulter(sink, helpers);
        for (const PageRange range : {PageRange{5, 1}, PageRange{0, 128}, PageRange{3, 1000}}) {
            must(populate(prefaulter, range));
            INFO(helpers << " helpers, " << range.count << " pages");
            CHECK(cover(sink.take_prefaulted(), range));
        }
    }
}

TEST_CASE("the ranges of a fragmented packet are shared too, and each is prefaulted once") {
    std::vector<PageRange> ranges;
    for (std::uint64_t page = 0; page < 2000; page += 20) ranges.push_back({page, 10});
    const RecordingSink sink;
    Prefaulter prefaulter(sink, 2);
    must(prefaulter.populate(kRam, ranges));
    const std::vector<PageRange> prefaulted = sink.take_prefaulted();
    REQUIRE(prefaulted.size() == ranges.size());
    for (std::size_t i = 0; i < ranges.size(); ++i) {
        CHECK(prefaulted[i].first == ranges[i].first);
        CHECK(prefaulted[i].count == ranges[i].count);
    }
}

TEST_CASE("a helper's run time is recorded under its name") {
    std::vector<std::string> names;
    const RecordingSink sink;
    {
        const Prefaulter prefaulter(sink, 1, [&](const std::string& name, const auto& work) {
            work();
            names.push_back(name);
        });
    }
    CHECK(names == std::vector<std::string>{"prefault_0"});
}

TEST_CASE(
    "a page that cannot be had is an error with any number of helpers, and the next call is "
    "served") {
    for (const unsigned helpers : {0U, 1U, 3U}) {
        RecordingSink sink;
        sink.fail_at(777);
        Prefaulter prefaulter(sink, helpers);
        CHECK(message_of(populate(prefaulter, {0, 1000})) == "no room for page 777");
        must(populate(prefaulter, {0, 700}));
    }
}

TEST_CASE("several callers share the helpers and each gets its own answer") {
    RecordingSink sink;
    sink.fail_at(0);
    Prefaulter prefaulter(sink, 2);
    std::atomic<int> wrong{0};
    {
        std::vector<std::jthread> callers;
        for (std::uint64_t i = 0; i < 4; ++i) {
            callers.emplace_back([&, i] {
                for (int turn = 0; turn < 100; ++turn) {
                    // Only the first caller's range holds the page that fails.
                    const bool ok = static_cast<bool>(populate(prefaulter, {i * 256, 256}));
                    if (ok != (i != 0)) ++wrong;
                }
            });
        }
    }
    CHECK(wrong == 0);
    std::vector<PageRange> last = sink.take_prefaulted();
    std::erase_if(last, [](const PageRange& range) { return range.first < 256; });
    std::uint64_t pages = 0;
    for (const PageRange& range : last) pages += range.count;
    CHECK(pages == std::uint64_t{3} * 100 * 256);
}

}  // namespace
}  // namespace migrate::memory
