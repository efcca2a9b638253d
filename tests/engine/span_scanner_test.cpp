// SPDX-License-Identifier: Apache-2.0
#include "engine/send/span_scanner.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <random>

#include "catch.hpp"
#include "tests/engine/run_sinks.hpp"
#include "tests/support/must.hpp"
#include "tests/support/ram_region.hpp"

namespace migrate::engine {
namespace {

// Why a source's pages are staged.
enum class Staged { kNo, kMapped, kNotMapped };

// One region whose pages' kinds the test chooses.
class FakeSource : public memory::PageSource {
  public:
    explicit FakeSource(std::vector<PageKind> kinds, Staged staged = Staged::kNo)
        : kinds_(std::move(kinds)), staged_(staged) {
        region_ = {"ram", kinds_.size() * kPageSize};
        bytes_ = must(Mapping::create({.size = region_.size_bytes,
                                       .protection = PROT_READ | PROT_WRITE,
                                       .flags = MAP_PRIVATE | MAP_ANONYMOUS,
                                       .what = "a fake source"}));
        for (std::size_t i = 0; i < kinds_.size(); ++i) {
            if (kinds_[i] != PageKind::kNormal) continue;
            std::byte* const page = bytes_.data() + i * kPageSize;
            page[kPageSize - 1] = std::byte{1};
            std::memcpy(page, &i, sizeof i);
        }
    }
    std::string_view description() const override { return "fake:"; }
    bool is_mapped(RegionId) const override { return staged_ != Staged::kNotMapped; }
    std::span<const RegionInfo> regions() const override { return {&region_, 1}; }
    std::span<const std::byte> memory(RegionId) const override { return bytes_.bytes(); }
    Status population(RegionId, PageRange range,
                      std::vector<memory::PopulationExtent>& extents) const override {
        memory::PopulationBuilder builder(range, extents);
        for (std::uint64_t page = range.first; page < range.end(); ++page) {
            builder.extend_to(page + 1, kinds_[page] != PageKind::kUnpopulated);
        }
        return {};
    }
    Status prefault(RegionId, PageRange range) const override {
        if (range.end() > fails_from_) return Error("the source broke");
        for (std::uint64_t page = range.first; page < range.end(); ++page) {
            prefaulted_unpopulated_ =
                prefaulted_unpopulated_ || kinds_[page] == PageKind::kUnpopulated;
        }
        return {};
    }

    const std::vector<PageKind>& kinds() const { return kinds_; }
    bool prefaulted_unpopulated() const { return prefaulted_unpopulated_; }
    void fail_from(std::uint64_t page) { fails_from_ = page; }
    void fill_holes_when_read() { reading_fills_holes_ = true; }
    bool reading_fills_holes() const override { return reading_fills_holes_; }

  private:
    std::vector<PageKind> kinds_;
    Staged staged_;
    bool reading_fills_holes_ = false;
    RegionInfo region_;
    Mapping bytes_;
    std::uint64_t fails_from_ = UINT64_MAX;
    mutable bool prefaulted_unpopulated_ = false;
};

struct ScannerLog {
    std::size_t most_outstanding = 0;
    std::size_t most_pages = 0;
    std::size_t awaited = 0;
    std::size_t collected = 0;
    std::vector<const std::byte*> pages;  // in the order of submission
};

// Looks at the last byte of each page only, when it is asked for the result.
class FakeScanner : public accel::PageScanner {
  public:
    FakeScanner(std::size_t depth, ScannerLog& log) : depth_(depth), log_(log) {}
    std::string_view name() const override { return "fake"; }
    std::size_t depth() const override { return depth_; }
    void submit(std::span<const accel::PageExtent> batch) override {
        batches_.emplace_back(batch.begin(), batch.end());
        log_.most_outstanding = std::max(log_.most_outstanding, batches_.size());
        std::size_t pages = 0;
        for (const accel::PageExtent& extent : batch) {
            pages += extent.pages;
            for (std::uint32_t i = 0; i < extent.pages; ++i)
                log_.pages.push_back(extent.data + i * kPageSize);
        }
        log_.most_pages = std::max(log_.most_pages, pages);
    }
    Status await() override {
        ++log_.awaited;
        return {};
    }
    Status collect(std::span<std::uint64_t> zero_map) override {
        CHECK(log_.awaited == ++log_.collected);
        std::size_t index = 0;
        for (const accel::PageExtent& extent : batches_.front()) {
            for (std::uint32_t i = 0; i < extent.pages; ++i, ++index) {
                const std::uint64_t bit = std::uint64_t{1} << (index % 64);
                const bool zero = extent.data[(i + 1) * kPageSize - 1] == std::byte{0};
                zero_map[index / 64] =
                    zero ? zero_map[index / 64] | bit : zero_map[index / 64] & ~bit;
            }
        }
        batches_.pop_front();
        return {};
    }

  private:
    std::size_t depth_;
    ScannerLog& log_;
    std::deque<std::vector<accel::PageExtent>> batches_;
};

std::vector<PageKind> random_kinds(std::size_t pages) {
    std::mt19937 random(5);
    std::vector<PageKind> kinds;
    while (kinds.size() < pages) {
        kinds.insert(kinds.end(), 1 + random() % 40, static_cast<PageKind>(random() % 3));
    }
    kinds.resize(pages);
    return kinds;
}

// The kinds emitted, one a page, after checking order and content pointers; in spans of so many
// pages.
std::vector<PageKind> scan(SpanScanner& scanner, const FakeSource& source, PageRange pages,
                           std::uint64_t span) {
    std::vector<PageKind> kinds;
    FunctionSink sink([&](RegionId region, const PageRun& run, const std::byte* content) -> Status {
        REQUIRE(region == kRam);
        REQUIRE(run.pages.count > 0);
        REQUIRE(run.pages.first == pages.first + kinds.size());
        if (run.kind == PageKind::kNormal) {
            REQUIRE(content == source.memory(kRam).data() + run.pages.offset_bytes());
        }
        kinds.insert(kinds.end(), run.pages.count, run.kind);
        return {};
    });
    for (std::uint64_t first = pages.first; first < pages.end(); first += span) {
        must(scanner.scan({kRam, {first, std::min(span, pages.end() - first)}}, {}, sink));
    }
    must(scanner.finish(sink));
    REQUIRE(kinds.size() == pages.count);
    return kinds;
}

std::vector<PageKind> scan(SpanScanner& scanner, const FakeSource& source, PageRange pages) {
    return scan(scanner, source, pages, pages.count);
}

TEST_CASE("pages that were given back are sent as unpopulated and not read") {
    const FakeSource source({PageKind::kNormal, PageKind::kUnpopulated, PageKind::kUnpopulated,
                             PageKind::kNormal, PageKind::kUnpopulated, PageKind::kNormal,
                             PageKind::kZero});
    memory::PageBitmap written = must(memory::PageBitmap::create(source.kinds().size()));
    memory::PageBitmap given_back = must(memory::PageBitmap::create(source.kinds().size()));
    written.set({0, 4});
    written.set({6, 1});
    given_back.set({1, 2});
    given_back.set({4, 1});
    ScannerLog log;
    SpanScanner scanner(source, std::make_unique<FakeScanner>(1, log), {});
    std::vector<std::pair<std::uint64_t, PageKind>> pages;
    FunctionSink sink([&](RegionId, const PageRun& run, const std::byte*) -> Status {
        for (std::uint64_t i = 0; i < run.pages.count; ++i) {
            pages.emplace_back(run.pages.first + i, run.kind);
        }
        return {};
    });
    must(scanner.scan({kRam, {0, source.kinds().size()}}, {&written, &given_back}, sink));
    must(scanner.finish(sink));
    CHECK(pages == std::vector<std::pair<std::uint64_t, PageKind>>{{0, PageKind::kNormal},
                                                                   {1, PageKind::kUnpopulated},
                                                                   {2, PageKind::kUnpopulated},
                                                                   {3, PageKind::kNormal},
                                                                   {6, PageKind::kZero}});
    CHECK_FALSE(source.prefaulted_unpopulated());
}

TEST_CASE("pages that have arrived are left out, of all pages and of those that were written") {
    const FakeSource source(random_kinds(3000));
    memory::PageBitmap arrived = must(memory::PageBitmap::create(3000));
    memory::PageBitmap written = must(memory::PageBitmap::create(3000));
    std::mt19937 random(6);
    for (std::uint64_t page = 0; page < 3000; page += 1 + random() % 60) {
        arrived.set({page, std::min<std::uint64_t>(1 + random() % 60, 3000 - page)});
        written.set({page, std::min<std::uint64_t>(1 + random() % 9, 3000 - page)});
    }
    const RoundPlan all = RoundPlan::all(source.regions(), 2);
    const RoundPlan some = RoundPlan::written(source.regions(), 2, std::span(&written, 1), {});
    CHECK(all.pages() == 3000);
    CHECK(some.pages() == written.count({0, 3000}));
    for (const RoundPlan* whole : {&all, &some}) {
        const RoundPlan plan = whole->without(std::span(&arrived, 1));
        ScannerLog log;
        SpanScanner scanner(source, std::make_unique<FakeScanner>(4, log), {});
        std::vector<std::uint64_t> pages;
        FunctionSink sink([&](RegionId, const PageRun& run, const std::byte*) -> Status {
            for (std::uint64_t i = 0; i < run.pages.count; ++i) {
                pages.push_back(run.pages.first + i);
            }
            return {};
        });
        while (const auto span = plan.claim()) {
            must(scanner.scan(*span, plan.pages_of(span->region), sink));
        }
        must(scanner.finish(sink));
        std::vector<std::uint64_t> expected;
        for (std::uint64_t page = 0; page < 3000; ++page) {
            const bool wanted = whole == &all || written.test(page);
            if (wanted && !arrived.test(page)) expected.push_back(page);
        }
        CHECK(pages == expected);
        CHECK(plan.pages() == expected.size());
    }
}

TEST_CASE("every page is emitted once, in order, by its kind, at any depth and batch size") {
    const FakeSource source(random_kinds(3000));
    for (const std::size_t depth : {1U, 4U}) {
        for (const std::uint64_t batch : {1U, 63U, 64U, 65U, 128U, 1024U}) {
            ScannerLog log;
            SpanScanner scanner(source, std::make_unique<FakeScanner>(depth, log),
                                {.normal_page_ratio = {}, .batch_pages = batch});
            std::vector<PageKind> kinds = scan(scanner, source, {0, 1001});
            const auto rest = scan(scanner, source, {1001, 1999});
            kinds.insert(kinds.end(), rest.begin(), rest.end());
            CHECK(kinds == source.kinds());
            CHECK(log.most_outstanding <= depth);
            CHECK(log.most_pages <= batch);
            for (const std::byte* data : log.pages) {
                const auto page =
                    static_cast<std::size_t>(data - source.memory(kRam).data()) / kPageSize;
                REQUIRE(source.kinds()[page] != PageKind::kUnpopulated);
            }
        }
    }
    CHECK_FALSE(source.prefaulted_unpopulated());
}

TEST_CASE("staged pages stay as they were read until they are released") {
    const Staged why = GENERATE(Staged::kMapped, Staged::kNotMapped);
    const FakeSource source(random_kinds(3000), why);
    for (const std::size_t depth : {1U, 4U}) {
        for (const std::uint64_t span : {1U, 100U, 3000U}) {
            constexpr std::uint64_t kBatch = 64;
            ScannerLog log;
            SpanScanner scanner(source, std::make_unique<FakeScanner>(depth, log),
                                {.normal_page_ratio = {}, .batch_pages = kBatch});
            Mapping staging = must(Mapping::create({.size = 2 * kBatch * kPageSize,
                                                    .protection = PROT_READ | PROT_WRITE,
                                                    .flags = MAP_PRIVATE | MAP_ANONYMOUS,
                                                    .what = "staging"}));
            const std::span<const std::byte> bytes = staging.bytes();
            scanner.stage(std::move(staging), true);
            std::vector<PageKind> kinds;
            std::vector<std::pair<std::uint64_t, const std::byte*>> held;  // normal pages
            std::size_t released = 0;
            const auto release = [&] {
                for (const auto& [page, content] : held) {
                    const auto* original = source.memory(kRam).data() + page * kPageSize;
                    REQUIRE(std::equal(content, content + kPageSize, original));
                }
                released += held.size();
                held.clear();
                return Status();
            };
            FunctionSink sink(
                [&](RegionId, const PageRun& run, const std::byte* content) -> Status {
                    REQUIRE(run.pages.first == kinds.size());
                    kinds.insert(kinds.end(), run.pages.count, run.kind);
                    if (run.kind != PageKind::kNormal) return {};
                    REQUIRE(content >= bytes.data());
                    REQUIRE(content + run.pages.size_bytes() <= bytes.data() + bytes.size());
                    for (std::uint64_t i = 0; i < run.pages.count; ++i)
                        held.emplace_back(run.pages.first + i, content + i * kPageSize);
                    return {};
                },
                release);
            for (std::uint64_t first = 0; first < 3000; first += span)
                must(scanner.scan({kRam, {first, span}}, {}, sink));
            must(scanner.finish(sink));
            must(release());
            CHECK(kinds == source.kinds());
            CHECK(log.most_pages <= SpanScanner::kStagedPages);
            CHECK(released == static_cast<std::size_t>(
                                  std::count(kinds.begin(), kinds.end(), PageKind::kNormal)));
        }
    }
    CHECK_FALSE(source.prefaulted_unpopulated());
}

TEST_CASE("zeros that were staged leave their room to the next pages") {
    std::vector<PageKind> kinds(320, PageKind::kZero);
    kinds[3] = PageKind::kNormal;
    const FakeSource source(kinds, GENERATE(Staged::kMapped, Staged::kNotMapped));
    ScannerLog log;
    SpanScanner scanner(source, std::make_unique<FakeScanner>(1, log),
                        {.normal_page_ratio = {}, .batch_pages = 128});
    Mapping staging = must(Mapping::create({.size = 256 * kPageSize,
                                            .protection = PROT_READ | PROT_WRITE,
                                            .flags = MAP_PRIVATE | MAP_ANONYMOUS,
                                            .what = "staging"}));
    const std::byte* const begin = staging.data();
    scanner.stage(std::move(staging), true);
    FunctionSink sink([](RegionId, const PageRun&, const std::byte*) { return Status(); },
                      [] { return Status(Error("nothing had to be released")); });
    must(scanner.scan({kRam, {0, 320}}, {}, sink));
    must(scanner.finish(sink));
    // The first batch keeps its pages up to the normal one, and all others follow there.
    const auto highest = *std::max_element(log.pages.begin(), log.pages.end());
    CHECK(highest - begin <
          static_cast<std::ptrdiff_t>((4 + SpanScanner::kStagedPages) * kPageSize));
}

TEST_CASE("a consumer that cannot let go of what is staged ends the scan") {
    const FakeSource source(std::vector<PageKind>(64, PageKind::kNormal), Staged::kMapped);
    ScannerLog log;
    SpanScanner scanner(source, std::make_unique<FakeScanner>(1, log),
                        {.normal_page_ratio = {}, .batch_pages = 8});
    scanner.stage(must(Mapping::create({.size = 16 * kPageSize,
                                        .protection = PROT_READ | PROT_WRITE,
                                        .flags = MAP_PRIVATE | MAP_ANONYMOUS,
                                        .what = "staging"})),
                  true);
    std::uint64_t emitted = 0;
    FunctionSink sink(
        [&](RegionId, const PageRun& run, const std::byte*) {
            emitted += run.pages.count;
            return Status();
        },
        [] { return Status(Error("the peer is gone")); });
    const Status status = scanner.scan({kRam, {0, 64}}, {}, sink);
    CHECK(message_of(status) == "the peer is gone");
    CHECK(emitted == 16);
}

TEST_CASE("batches stay under way from one span to the next") {
    const FakeSource source(random_kinds(3000));
    for (const std::uint64_t span : {1U, 40U, 1000U}) {
        ScannerLog log;
        SpanScanner scanner(source, std::make_unique<FakeScanner>(4, log),
                            {.normal_page_ratio = {}, .batch_pages = 64});
        CHECK(scan(scanner, source, {0, 3000}, span) == source.kinds());
        CHECK(log.most_outstanding == 4);
    }
}

TEST_CASE("a scanner of some depth is kept busy") {
    const FakeSource source(std::vector<PageKind>(1000, PageKind::kZero));
    ScannerLog log;
    SpanScanner scanner(source, std::make_unique<FakeScanner>(4, log),
                        {.normal_page_ratio = {}, .batch_pages = 16});
    scan(scanner, source, {0, 1000});
    CHECK(log.most_outstanding == 4);
}

TEST_CASE("with skip-unpopulated=off all is looked at") {
    const FakeSource source(random_kinds(500));
    ScannerLog log;
    SpanScanner scanner(source, std::make_unique<FakeScanner>(1, log),
                        {.skip_unpopulated = false, .normal_page_ratio = {}});
    auto expected = source.kinds();
    std::replace(expected.begin(), expected.end(), PageKind::kUnpopulated, PageKind::kZero);
    CHECK(scan(scanner, source, {0, 500}) == expected);
    CHECK(log.pages.size() == 500);
}

TEST_CASE("holes that reading would fill are not looked at with skip-unpopulated=off") {
    FakeSource source(random_kinds(500));
    source.fill_holes_when_read();
    for (const bool scans : {true, false}) {
        ScannerLog log;
        auto fake = scans ? std::make_unique<FakeScanner>(1, log) : nullptr;
        SpanScanner scanner(source, std::move(fake),
                            {.skip_unpopulated = false, .normal_page_ratio = {}});
        const auto found = scan(scanner, source, {0, 500});
        for (std::size_t page = 0; page < found.size(); ++page) {
            const bool hole = source.kinds()[page] == PageKind::kUnpopulated;
            CHECK((found[page] == PageKind::kUnpopulated) == hole);
        }
        CHECK_FALSE(source.prefaulted_unpopulated());
    }
}

TEST_CASE("without a scanner, pages that are not mapped are read and sent as they were read") {
    const FakeSource source(random_kinds(1000), Staged::kNotMapped);
    SpanScanner scanner(source, nullptr, {.normal_page_ratio = {}, .batch_pages = 64});
    scanner.stage(must(Mapping::create({.size = 128 * kPageSize,
                                        .protection = PROT_READ | PROT_WRITE,
                                        .flags = MAP_PRIVATE | MAP_ANONYMOUS,
                                        .what = "staging"})),
                  true);
    std::vector<std::pair<std::uint64_t, const std::byte*>> held;
    std::uint64_t pages = 0;
    const auto release = [&] {
        for (const auto& [page, content] : held) {
            const auto* original = source.memory(kRam).data() + page * kPageSize;
            REQUIRE(std::equal(content, content + kPageSize, original));
        }
        held.clear();
        return Status();
    };
    FunctionSink sink(
        [&](RegionId, const PageRun& run, const std::byte* content) -> Status {
            pages += run.pages.count;
            if (run.kind != PageKind::kNormal) return {};
            for (std::uint64_t i = 0; i < run.pages.count; ++i)
                held.emplace_back(run.pages.first + i, content + i * kPageSize);
            return {};
        },
        release);
    must(scanner.scan({kRam, {0, 1000}}, {}, sink));
    must(scanner.finish(sink));
    must(release());
    CHECK(pages == 1000);
}

TEST_CASE("without a scanner every populated page is normal") {
    const FakeSource source(random_kinds(500));
    SpanScanner scanner(source, nullptr, {});
    auto expected = source.kinds();
    std::replace(expected.begin(), expected.end(), PageKind::kZero, PageKind::kNormal);
    CHECK(scan(scanner, source, {0, 500}) == expected);
}

TEST_CASE(
    "the ratio's groups run on over batches and spans, and count only pages that are checked") {
    const FakeSource source(random_kinds(3000));
    for (const unsigned ratio : {1U, 37U, 99U, 100U}) {
        ScannerLog log;
        SpanScanner scanner(source, std::make_unique<FakeScanner>(4, log),
                            {.normal_page_ratio = ratio, .batch_pages = 48});
        std::vector<PageKind> kinds;
        for (std::uint64_t page = 0; page < 3000; page += 250) {
            const auto part = scan(scanner, source, {page, 250});
            kinds.insert(kinds.end(), part.begin(), part.end());
        }
        auto expected = source.kinds();
        unsigned checked = 0;
        for (PageKind& kind : expected) {
            if (kind == PageKind::kUnpopulated) continue;
            if (checked++ % 100 < ratio) kind = PageKind::kNormal;
        }
        CHECK(kinds == expected);
    }
}

TEST_CASE("an error of the consumer or of the source ends the scan") {
    FakeSource source(random_kinds(1000));
    ScannerLog log;
    int calls = 0;
    SpanScanner scanner(source, std::make_unique<FakeScanner>(4, log),
                        {.normal_page_ratio = {}, .batch_pages = 16});
    FunctionSink full([&](RegionId, const PageRun&, const std::byte*) -> Status {
        if (++calls == 3) return Error(ErrorKind::kCancelled, "enough");
        return {};
    });
    const Status stopped = scanner.scan({kRam, {0, 1000}}, {}, full);
    CHECK(message_of(stopped) == "enough");
    CHECK(calls == 3);

    source.fail_from(500);
    SpanScanner second(source, std::make_unique<FakeScanner>(4, log),
                       {.normal_page_ratio = {}, .batch_pages = 16});
    FunctionSink any([](RegionId, const PageRun&, const std::byte*) { return Status(); });
    const Status broken = second.scan({kRam, {0, 1000}}, {}, any);
    CHECK(message_of(broken) == "the source broke");
}

}  // namespace
}  // namespace migrate::engine
