// SPDX-License-Identifier: Apache-2.0
// The sinks in this process's own memory: anon:, memfd: and null:.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "catch.hpp"
#include "memory/sink/page_sink.hpp"
#include "tests/support/must.hpp"

namespace migrate::memory {
namespace {

const std::vector<std::string> kMemorySinks{"anon:", "anon:huge=off", "memfd:", "memfd:huge=off"};

bool holds_only(std::span<const std::byte> memory, PageRange range, std::byte value) {
    const auto bytes = memory.subspan(range.offset_bytes(), range.size_bytes());
    return std::all_of(bytes.begin(), bytes.end(), [=](std::byte b) { return b == value; });
}

TEST_CASE("a sink in memory has every region, zero-filled, aligned and apart") {
    const std::vector<RegionInfo> regions{{"ram", 5 * kMiB}, {"video", kPageSize}};
    for (const std::string& uri : kMemorySinks) {
        const auto sink = must(open_page_sink(uri));
        must(sink->prepare(regions));
        INFO(uri);
        CHECK(sink->description() == uri);
        CHECK_FALSE(sink->discards());
        for (std::uint16_t i = 0; i < 2; ++i) {
            const auto memory = sink->memory(RegionId{i});
            CHECK(memory.size() == regions[i].size_bytes);
            CHECK(holds_only(memory, {0, regions[i].pages()}, std::byte{0}));
            must(sink->prefault(RegionId{i}, {0, regions[i].pages()}));
            std::memset(memory.data(), i + 1, memory.size());
        }
        CHECK(holds_only(sink->memory(RegionId{0}), {0, 5 * kMiB / kPageSize}, std::byte{1}));
        CHECK(holds_only(sink->memory(RegionId{1}), {0, 1}, std::byte{2}));
        must(sink->commit());
    }
}

TEST_CASE("clearing makes exactly the given pages zero, runs long and short, aligned or not") {
    const RegionInfo region{"ram", 16 * kMiB};
    for (const std::string& uri : kMemorySinks) {
        const auto sink = must(open_page_sink(uri));
        must(sink->prepare({&region, 1}));
        const auto memory = sink->memory(RegionId{0});
        for (const PageRange range :
             {PageRange{3, 1}, PageRange{500, 30}, PageRange{0, 512}, PageRange{512, 1024},
              PageRange{100, 3000}, PageRange{511, 514}, PageRange{4095, 1}, PageRange{0, 4096}}) {
            std::memset(memory.data(), 0x5a, memory.size());
            must(sink->clear(RegionId{0}, range));
            INFO(uri << " pages " << range.first << " to " << range.end());
            CHECK(holds_only(memory, range, std::byte{0}));
            CHECK(holds_only(memory, {0, range.first}, std::byte{0x5a}));
            CHECK(holds_only(memory, {range.end(), region.pages() - range.end()}, std::byte{0x5a}));
        }
    }
}

TEST_CASE("memory never placed is unpopulated in a sink, and 100 GiB of it weigh nothing") {
    const RegionInfo region{"ram", 100 * kGiB};
    for (const std::string& uri : kMemorySinks) {
        const auto sink = must(open_page_sink(uri));
        must(sink->prepare({&region, 1}));
        std::vector<PopulationExtent> extents;
        must(sink->population(RegionId{0}, {0, region.pages()}, extents));
        INFO(uri);
        REQUIRE(extents.size() == 1);
        CHECK_FALSE(extents[0].populated);
        sink->memory(RegionId{0})[50 * kGiB] = std::byte{1};
        extents.clear();
        must(sink->population(RegionId{0}, {0, region.pages()}, extents));
        REQUIRE(extents.size() == 3);
        CHECK(extents[1].pages.first == 50 * kGiB / kPageSize);
    }
}

TEST_CASE("absurd sizes are errors of a sink in memory") {
    for (const std::string& uri : kMemorySinks) {
        for (const std::uint64_t size :
             {~std::uint64_t{0} - kPageSize + 1, std::uint64_t{1} << 63U,
              (std::uint64_t{1} << 63U) - kPageSize, std::uint64_t{1} << 60U}) {
            const auto sink = must(open_page_sink(uri));
            const RegionInfo region{"ram", size};
            INFO(uri << " " << size);
            CHECK_FALSE(sink->prepare({&region, 1}));
        }
    }
}

TEST_CASE("the null sink takes any region, keeps nothing and reports that") {
    const auto sink = must(open_page_sink("null:"));
    const RegionInfo region{"ram", std::uint64_t{1} << 60U};
    must(sink->prepare({&region, 1}));
    CHECK(sink->discards());
    CHECK(sink->memory(RegionId{0}).empty());
    must(sink->prefault(RegionId{0}, {0, 1}));
    must(sink->clear(RegionId{0}, {0, 1}));
    must(sink->commit());
}

}  // namespace
}  // namespace migrate::memory
