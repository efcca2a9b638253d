#include "memory/prefaulter.hpp"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "tests/memory/must.hpp"
#include "tests/memory/recording_sink.hpp"

namespace migrate::memory {
namespace {

constexpr RegionId kRam{0};

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
            must(prefaulter.populate(kRam, range));
            INFO(helpers << " helpers, " << range.count << " pages");
            CHECK(cover(sink.take_prefaulted(), range));
        }
    }
}

TEST_CASE(
    "a page that cannot be had is an error with any number of helpers, and the next call is "
    "served") {
    for (const unsigned helpers : {0U, 1U, 3U}) {
        RecordingSink sink;
        sink.fail_at(777);
        Prefaulter prefaulter(sink, helpers);
        CHECK(message_of(prefaulter.populate(kRam, {0, 1000})) == "no room for page 777");
        must(prefaulter.populate(kRam, {0, 700}));
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
                    const bool ok = static_cast<bool>(prefaulter.populate(kRam, {i * 256, 256}));
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
