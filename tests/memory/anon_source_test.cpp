// SPDX-License-Identifier: Apache-2.0
#include "memory/source/anon_source.hpp"

#include <algorithm>
#include <cstring>

#include "base/config/option_lookup.hpp"
#include "catch.hpp"
#include "memory/digest.hpp"
#include "memory/sink/page_sink.hpp"
#include "tests/support/must.hpp"
#include "tests/support/ram_region.hpp"

namespace migrate::memory {
namespace {

std::uint64_t populated_pages(const PageSource& source) {
    std::vector<PopulationExtent> extents;
    must(source.population(kRam, {0, source.regions()[0].pages()}, extents));
    std::uint64_t pages = 0;
    for (const auto& extent : extents) pages += extent.populated ? extent.pages.count : 0;
    return pages;
}

std::uint64_t pages_with_content(const PageSource& source) {
    const auto memory = source.memory(kRam);
    std::uint64_t pages = 0;
    for (std::size_t at = 0; at < memory.size(); at += kPageSize) {
        const auto page = memory.subspan(at, kPageSize);
        pages +=
            std::any_of(page.begin(), page.end(), [](std::byte b) { return b != std::byte{0}; });
    }
    return pages;
}

TEST_CASE("a source or a sink that is not memory alone is refused") {
    for (const char* uri : {"workload:1M", "qemu:vm.qmp", "bundle:d", "pid:1,map=f"}) {
        const auto source = open_page_source(uri);
        CHECK_THAT(message_of(source), Catch::Contains("not memory alone"));
        CHECK(source.error().kind() == ErrorKind::kUsage);
    }
    CHECK_THAT(message_of(open_page_sink("qemu:vm.qmp")), Catch::Contains("not memory alone"));
    CHECK_THAT(
        message_of(open_page_sink("ramfs:")),
        Catch::Contains("write file:PATH, anon:, memfd:, qemu:QMP-SOCKET, bundle:DIR or null:"));
}

TEST_CASE("the words of anon: arrive, each in its field") {
    const auto spec = [](std::string_view uri) {
        return anon_source_spec(must(parse_form_of<"source">(uri)));
    };
    const AnonSourceSpec mixed = spec("anon:2M,huge=on,fill=mixed:30");
    CHECK(mixed.size_bytes == 2 * kMiB);
    CHECK(mixed.fill == AnonFill::kMixed);
    CHECK(mixed.random_percent == 30);
    CHECK(mixed.huge == HugePages::kOn);
    CHECK(spec("anon:8192").fill == AnonFill::kUntouched);
    CHECK(spec("anon:8192,fill=random").random_percent == 100);
    CHECK(spec("anon:8192").huge == HugePages::kOff);
}

TEST_CASE("a guest of 100 GiB that was never touched has one extent and is of no weight") {
    const auto source = must(open_page_source("anon:100G"));
    CHECK(source->memory(kRam).size() == 100 * kGiB);
    CHECK(reinterpret_cast<std::uintptr_t>(source->memory(kRam).data()) % kHugePageSize == 0);
    std::vector<PopulationExtent> extents;
    must(source->population(kRam, {0, 100 * kGiB / kPageSize}, extents));
    REQUIRE(extents.size() == 1);
    CHECK_FALSE(extents[0].populated);
}

TEST_CASE("each fill makes the pages it promises") {
    constexpr std::uint64_t kPages = 16 * kMiB / kPageSize;
    struct Fill {
        const char* uri;
        std::uint64_t populated;
        std::uint64_t content;
    };
    for (const Fill& fill :
         {Fill{"anon:16M", 0, 0}, Fill{"anon:16M,fill=untouched", 0, 0},
          Fill{"anon:16M,fill=read", 0, 0}, Fill{"anon:16M,fill=zero", kPages, 0},
          Fill{"anon:16M,fill=random", kPages, kPages},
          Fill{"anon:16M,fill=random,huge=on", kPages, kPages},
          Fill{"anon:16M,fill=mixed:50", kPages, kPages / 2},
          Fill{"anon:16M,fill=mixed:0", kPages, 0}, Fill{"anon:16M,fill=mixed:100", kPages, kPages},
          Fill{"anon:16M,fill=read,huge=on", 0, 0}}) {
        const auto source = must(open_page_source(fill.uri));
        INFO(fill.uri);
        CHECK(populated_pages(*source) == fill.populated);
        CHECK(pages_with_content(*source) == fill.content);
    }
}

TEST_CASE("the content of a synthetic guest is the same every time") {
    const auto one = must(open_page_source("anon:12M,fill=mixed:70"));
    const auto other = must(open_page_source("anon:12M,fill=mixed:70,huge=on"));
    const auto a = one->memory(kRam);
    const auto b = other->memory(kRam);
    REQUIRE(a.size() == b.size());
    CHECK(std::memcmp(a.data(), b.data(), a.size()) == 0);
}

TEST_CASE("no two random pages are alike, and none repeats itself") {
    constexpr std::uint64_t kPages = 64;
    std::vector<std::byte> pages(kPages * kPageSize);
    for (std::uint64_t page = 0; page < kPages; ++page) {
        write_random_page(std::span(pages).subspan(page * kPageSize).first<kPageSize>(), page);
    }
    std::vector<std::uint64_t> words(pages.size() / sizeof(std::uint64_t));
    std::memcpy(words.data(), pages.data(), pages.size());
    std::sort(words.begin(), words.end());
    CHECK(std::adjacent_find(words.begin(), words.end()) == words.end());
    CHECK(words.front() != 0);
}

TEST_CASE("the random pages of a mixture are spread evenly") {
    for (const unsigned percent : {1U, 33U, 50U, 99U}) {
        for (std::uint64_t first = 0; first < 300; ++first) {
            unsigned random = 0;
            for (std::uint64_t page = first; page < first + 100; ++page) {
                random += is_random_page(page, percent) ? 1U : 0U;
            }
            CHECK(random == percent);
        }
    }
}

TEST_CASE("a fill that does not fit the memory of this machine is refused before it begins") {
    const auto source = open_page_source("anon:64T,fill=zero");
    CHECK_THAT(message_of(source), Catch::Contains("memory available"));
}

TEST_CASE("a size beyond the address space is an error") {
    CHECK_FALSE(open_page_source("anon:1048576T"));
}

}  // namespace
}  // namespace migrate::memory
