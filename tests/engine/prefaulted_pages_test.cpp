// SPDX-License-Identifier: Apache-2.0
#include "engine/send/prefaulted_pages.hpp"

#include "accel/cpu_page_scanner.hpp"
#include "catch.hpp"
#include "engine/send/span_scanner.hpp"
#include "tests/engine/run_sinks.hpp"
#include "tests/support/must.hpp"
#include "tests/support/ram_region.hpp"

namespace migrate::engine {
namespace {

constexpr std::uint64_t kPages = 1000;

// Populated memory that counts what is prefaulted.
class CountingSource : public memory::PageSource {
  public:
    // `present`: populated pages are known to be present.
    explicit CountingSource(bool present)
        : present_(present), source_(must(memory::open_page_source("anon:4000K,fill=zero"))) {}
    std::string_view description() const override { return source_->description(); }
    std::span<const RegionInfo> regions() const override { return source_->regions(); }
    std::span<const std::byte> memory(RegionId region) const override {
        return source_->memory(region);
    }
    Status population(RegionId region, PageRange range,
                      std::vector<memory::PopulationExtent>& extents) const override {
        return source_->population(region, range, extents);
    }
    bool populated_is_present() const override { return present_; }
    Status prefault(RegionId, PageRange range) const override {
        ++calls_;
        pages_ += range.count;
        return {};
    }
    std::uint64_t prefaulted_pages() const { return pages_; }
    std::uint64_t prefault_calls() const { return calls_; }

  private:
    bool present_;
    std::unique_ptr<memory::PageSource> source_;
    mutable std::uint64_t calls_ = 0;
    mutable std::uint64_t pages_ = 0;
};

std::unique_ptr<accel::PageScanner> cpu_scanner() {
    return std::make_unique<accel::CpuPageScanner>(accel::all_zero_kernels().back());
}

TEST_CASE("a page is prefaulted once in a session, and again after it was given back") {
    const CountingSource source(false);
    auto prefaulted = must(PrefaultedPages::create(source));
    memory::PageBitmap written = must(memory::PageBitmap::create(1000));
    memory::PageBitmap given_back = must(memory::PageBitmap::create(1000));
    const SpanScanner::Options options{.normal_page_ratio = {}, .prefaulted = &prefaulted};
    // Two channels of one session.
    SpanScanner first(source, cpu_scanner(), options);
    SpanScanner second(source, nullptr, options);
    FunctionSink sink([](RegionId, const PageRun&, const std::byte*) -> Status { return {}; });
    const auto scan_written = [&](SpanScanner& scanner) {
        must(scanner.scan({kRam, {0, kPages}}, {&written, &given_back}, sink));
        must(scanner.finish(sink));
    };
    must(first.scan({kRam, {0, 500}}, {}, sink));
    must(first.finish(sink));
    CHECK(source.prefaulted_pages() == 500);
    // Dirty runs, partly of pages that no round has sent.
    for (std::uint64_t page = 0; page < 1000; page += 10) written.set({page, 2});
    for (int round = 0; round < 5; ++round) scan_written(round % 2 == 0 ? first : second);
    CHECK(source.prefaulted_pages() == 600);
    given_back.set({100, 1});
    scan_written(first);
    CHECK(source.prefaulted_pages() == 600);
    given_back.clear({100, 1});
    scan_written(second);
    CHECK(source.prefaulted_pages() == 601);
}

TEST_CASE("pages that the guest has written in this process are not prefaulted") {
    const CountingSource source(true);
    memory::PageBitmap written = must(memory::PageBitmap::create(1000));
    written.set({0, 1000});
    SpanScanner scanner(source, cpu_scanner(),
                        {.skip_unpopulated = false, .normal_page_ratio = {}});
    FunctionSink sink([](RegionId, const PageRun&, const std::byte*) -> Status { return {}; });
    must(scanner.scan({kRam, {0, kPages}}, {&written}, sink));
    must(scanner.finish(sink));
    CHECK(source.prefault_calls() == 0);
    must(scanner.scan({kRam, {0, kPages}}, {}, sink));
    must(scanner.finish(sink));
    CHECK(source.prefaulted_pages() == 1000);
}

}  // namespace
}  // namespace migrate::engine
