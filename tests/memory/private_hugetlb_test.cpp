// SPDX-License-Identifier: Apache-2.0
// Another process's private memory in huge pages of the host's pool.
#include <algorithm>

#include "memory/dirty/dirty_tracker.hpp"
#include "memory/foreign/foreign_userfaultfd.hpp"
#include "memory/foreign/process_population.hpp"
#include "tests/catch.hpp"
#include "tests/memory/private_process.hpp"
#include "tests/support/huge_pool.hpp"

namespace migrate::memory {
namespace {

constexpr std::uint64_t kHugePages = 4;
constexpr std::uint64_t kHuge = kPagesPerHugePage;

PrivateProcess make_process() {
    return {
        must(Mapping::create({.size = kHugePages * kHugePageSize,
                              .protection = PROT_READ | PROT_WRITE,
                              .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE,
                              .what = "private huge pages"})),
        kHugePageSize};
}

std::unique_ptr<PageSource> source_of(const PrivateProcess& process) {
    std::vector<MemoryBlock> blocks;
    blocks.push_back(process.block());
    blocks[0].kind = PrivateKind::kHugetlb;
    return must(
        open_block_source("private:", std::move(blocks), process.access(), process.owner()));
}

// '#' for each huge page that is populated.
std::string drawing(const std::vector<PopulationExtent>& extents) {
    std::string text;
    for (const PopulationExtent& extent : extents) {
        CHECK(extent.pages.count % kHuge == 0);
        text.append(extent.pages.count / kHuge, extent.populated ? '#' : '.');
    }
    return text;
}

std::string population_of(const PageSource& source) {
    std::vector<PopulationExtent> extents;
    must(source.population(RegionId{}, {0, kHugePages * kHuge}, extents));
    return drawing(extents);
}

std::string collected(DirtyTracker& tracker) {
    std::vector<PageBitmap> dirty;
    dirty.push_back(must(PageBitmap::create(kHugePages * kHuge)));
    must(tracker.collect(dirty, {}));
    std::string text;
    for (std::uint64_t page = 0; page < kHugePages; ++page) {
        text += dirty[0].test(page * kHuge) ? '#' : '.';
    }
    return text;
}

// A marked page and a page that the kernel is moving have entries of one kind: neither empty nor
// present. /proc/PID/pagemap shows both as it shows an untouched page.
TEST_CASE("a huge page whose entry may be that of one on the move counts as populated") {
    const HugePool pool(kHugePages);
    if (!pool) return;
    PrivateProcess process = make_process();
    process.fill(kHuge, 7);
    process.mark(2 * kHuge);
    const auto population = must(ProcessPopulation::create(process.pid()));
    const PageRange all{0, kHugePages * kHuge};
    std::vector<PopulationExtent> extents;
    must(population.query(process.address(), all, extents));
    CHECK(drawing(extents) == ".#..");
    extents.clear();
    must(population.query_hugetlb(process.address(), all, extents));
    CHECK(drawing(extents) == ".##.");
    extents.clear();
    must(population.query_hugetlb(process.address(), {kHuge, 2 * kHuge}, extents));
    CHECK(drawing(extents) == "##");
}

TEST_CASE("a tracker leaves untouched huge pages of private memory untouched") {
    const HugePool pool(kHugePages);
    if (!pool || !probe_foreign_userfaultfd() || !probe_dirty_trackers()[0].usable) return;
    PrivateProcess process = make_process();
    process.fill(0, 7);
    const std::uint64_t free = HugePool::free_pages();
    const auto source = source_of(process);
    const auto tracker = must(make_dirty_tracker("uffd-wp", *source));
    must(tracker->start());
    CHECK(population_of(*source) == "#...");
    CHECK(collected(*tracker) == "....");
    CHECK(HugePool::free_pages() == free);
    process.fill(0, 8);
    process.fill(2 * kHuge, 8);
    CHECK(population_of(*source) == "#.#.");
    CHECK(collected(*tracker) == "#.#.");
    CHECK(collected(*tracker) == "....");
    // The mark that protects the page outlives it: the page is in doubt until it is read.
    process.discard(2 * kHuge);
    CHECK(population_of(*source) == "#.#.");
    CHECK(collected(*tracker) == "..#.");
    std::vector<std::byte> page(kPageSize, std::byte{1});
    must(source->read(RegionId{}, {2 * kHuge, 1}, page.data()));
    CHECK(page[0] == std::byte{0});
    CHECK(collected(*tracker) == "....");
    process.fill(3 * kHuge, 9);
    process.discard(3 * kHuge);
    CHECK(population_of(*source) == "#.#.");
    CHECK(collected(*tracker) == "....");
    tracker->stop();
    process.fill(0, 9);
    CHECK(process.byte_of(0) == 9);
}

}  // namespace
}  // namespace migrate::memory
