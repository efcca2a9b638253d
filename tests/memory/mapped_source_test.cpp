// SPDX-License-Identifier: Apache-2.0
#include "memory/source/mapped_source.hpp"

#include <cstring>
#include <string>

#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/ram_region.hpp"

namespace migrate::memory {
namespace {

std::string drawing(const MappedSource& source, PageRange range) {
    std::vector<PopulationExtent> extents;
    must(source.population(kRam, range, extents));
    std::string text;
    for (const PopulationExtent& extent : extents) {
        text += fmt::format("{}{} ", extent.populated ? '#' : '.', extent.pages.count);
    }
    return text;
}

TEST_CASE("memory of this process is populated from its first write on, private or shared") {
    for (const MemoryKind kind : {MemoryKind::kAnon, MemoryKind::kMemfd}) {
        const auto source = must(MappedSource::create("test", kind, 8 * kMiB, HugePages::kOff));
        CHECK(source->regions()[0].pages() == 2048);
        CHECK(drawing(*source, {0, 2048}) == ".2048 ");
        std::memset(source->bytes().data() + 100 * kPageSize, 1, 2 * kPageSize);
        CHECK(drawing(*source, {0, 2048}) == ".100 #2 .1946 ");
        CHECK(drawing(*source, {101, 9}) == "#1 .8 ");
        must(source->prefault(kRam, {100, 2}));
        CHECK(source->memory(kRam)[100 * kPageSize] == std::byte{1});
    }
}

TEST_CASE("a pool with too few huge pages is an error when the memory is made") {
    // More than any pool here has.
    const auto source =
        MappedSource::create("test", MemoryKind::kHugetlb, std::uint64_t{1} << 40, HugePages::kOff);
    CHECK_FALSE(source);
    CHECK_FALSE(MappedSource::create("test", MemoryKind::kHugetlb, kPageSize, HugePages::kOff));
}

}  // namespace
}  // namespace migrate::memory
