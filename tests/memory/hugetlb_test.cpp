// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "memory/region_digest.hpp"
#include "memory/sink/hugetlb_holes.hpp"
#include "memory/sink/page_sink.hpp"
#include "memory/source/page_source.hpp"
#include "tests/support/huge_pool.hpp"
#include "tests/support/must.hpp"
#include "tests/support/ram_region.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::memory {
namespace {

constexpr std::uint64_t kHuge = kPagesPerHugePage;

// A file of `huge_pages` of which those listed hold 'x'.
void write_huge_file(const std::string& path, std::uint64_t huge_pages,
                     const std::vector<std::uint64_t>& written, int value = 'x') {
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    REQUIRE(::ftruncate(file.get(), static_cast<off_t>(huge_pages * kHugePageSize)) == 0);
    const Mapping mapping = must(Mapping::create({.size = huge_pages * kHugePageSize,
                                                  .protection = PROT_READ | PROT_WRITE,
                                                  .flags = MAP_SHARED | MAP_NORESERVE,
                                                  .fd = file.get(),
                                                  .what = path}));
    for (const std::uint64_t page : written) {
        std::memset(mapping.data() + page * kHugePageSize, value, kHugePageSize);
    }
}

std::string drawing(const std::vector<PopulationExtent>& extents) {
    std::string text;
    for (const PopulationExtent& extent : extents) {
        text += fmt::format("{}{} ", extent.populated ? '#' : '.', extent.pages.count);
    }
    return text;
}

TEST_CASE("holes of a hugetlbfs file are found by each probe without allocating") {
    const HugePool pool(4);
    if (!pool) return;
    write_huge_file(pool.folder() / "image", 6, {1, 4});
    const std::uint64_t free = HugePool::free_pages();
    const UniqueFd file(::open((pool.folder() / "image").c_str(), O_RDONLY | O_CLOEXEC));
    for (const auto probe :
         {std::optional<HugetlbProbe>{}, std::optional{HugetlbProbe::kUserfaultfd},
          std::optional{HugetlbProbe::kRead}}) {
        std::vector<PopulationExtent> extents;
        const Status status =
            hugetlb_population(file.get(), 6 * kHugePageSize, {0, 6 * kHuge}, extents, probe);
        if (!status && probe == HugetlbProbe::kUserfaultfd) {
            WARN("skipped: " << status.error().message());
            continue;
        }
        must(status);
        CHECK(drawing(extents) == ".512 #512 .1024 #512 .512 ");
        extents.clear();
        must(hugetlb_population(file.get(), 6 * kHugePageSize, {500, 530}, extents, probe));
        CHECK(drawing(extents) == ".12 #512 .6 ");
        CHECK(HugePool::free_pages() == free);
    }
}

TEST_CASE("a huge page written with zeros is populated to the exact probe") {
    const HugePool pool(2);
    if (!pool) return;
    write_huge_file(pool.folder() / "image", 2, {1}, 0);
    const UniqueFd file(::open((pool.folder() / "image").c_str(), O_RDONLY | O_CLOEXEC));
    std::vector<PopulationExtent> extents;
    const Status status = hugetlb_population(file.get(), 2 * kHugePageSize, {0, 1024}, extents,
                                             HugetlbProbe::kUserfaultfd);
    if (!status) {
        WARN("skipped: " << status.error().message());
        return;
    }
    CHECK(drawing(extents) == ".512 #512 ");
}

TEST_CASE("a hugetlbfs source keeps its holes even when they are read") {
    const HugePool pool(4);
    if (!pool) return;
    write_huge_file(pool.folder() / "image", 4, {2});
    const std::uint64_t free = HugePool::free_pages();
    const auto source = must(open_page_source(pool.folder() / "image"));
    std::vector<PopulationExtent> extents;
    must(source->population(kRam, {0, 2048}, extents));
    CHECK(drawing(extents) == ".1024 #512 .512 ");
    extents.clear();
    must(source->population(kRam, {1500, 100}, extents));
    CHECK(drawing(extents) == "#36 .64 ");
    must(source->prefault(kRam, {0, 2048}));
    CHECK(source->memory(kRam)[0] == std::byte{0});
    CHECK(source->memory(kRam)[2 * kHugePageSize] == std::byte{'x'});
    CHECK(source->memory(kRam)[4 * kHugePageSize - 1] == std::byte{0});
    must(digest_source(*source, 1, {}));
    CHECK(HugePool::free_pages() == free);
}

TEST_CASE("a hugetlbfs source that is all holes or all data needs no probe") {
    const HugePool pool(2);
    if (!pool) return;
    for (const std::vector<std::uint64_t>& written : {std::vector<std::uint64_t>{}, {0, 1}}) {
        const std::string path = pool.folder() / "image";
        write_huge_file(path, 2, written);
        const auto source = must(open_page_source(path));
        std::vector<PopulationExtent> extents;
        must(source->population(kRam, {0, 1024}, extents));
        CHECK(drawing(extents) == (written.empty() ? ".1024 " : "#1024 "));
        std::filesystem::remove(path);
    }
}

TEST_CASE(
    "a hugetlbfs sink takes huge pages only for what is placed, and gives cleared ones back") {
    const HugePool pool(3);
    if (!pool) return;
    const std::uint64_t free = HugePool::free_pages();
    {
        const auto sink = must(open_page_sink(pool.folder() / "image"));
        const RegionInfo region{"ram", 64 * kHugePageSize};
        must(sink->prepare({&region, 1}));
        CHECK(HugePool::free_pages() == free);
        // A packet's worth, not aligned to the huge page.
        must(sink->prefault(kRam, {5 * kHuge + 100, 128}));
        std::memset(sink->memory(kRam).data() + (5 * kHuge + 100) * kPageSize, 'y',
                    128 * kPageSize);
        must(sink->prefault(kRam, {9 * kHuge, kHuge}));
        std::memset(sink->memory(kRam).data() + 9 * kHuge * kPageSize, 'z', 512 * kPageSize);
        CHECK(HugePool::free_pages() == free - 2);
        must(sink->clear(kRam, {9 * kHuge, kHuge}));
        CHECK(HugePool::free_pages() == free - 1);
        CHECK(must(digest_sink(*sink, {&region, 1}, 1, {})).size() == 1);
        CHECK(HugePool::free_pages() == free - 1);
        must(sink->commit());
    }
    const std::string content = read_file(pool.folder() / "image");
    CHECK(content.size() == 64 * kHugePageSize);
    CHECK(content[(5 * kHuge + 100) * kPageSize] == 'y');
    CHECK(content[9 * kHuge * kPageSize] == '\0');
}

TEST_CASE("an exhausted pool is an error of a hugetlbfs sink's prefault") {
    const HugePool pool(2);
    if (!pool) return;
    const auto sink = must(open_page_sink(pool.folder() / "image"));
    const RegionInfo region{"ram", 1024 * kHugePageSize};
    must(sink->prepare({&region, 1}));
    Status status;
    for (std::uint64_t huge = 0; huge < 1024 && status; ++huge) {
        status = sink->prefault(kRam, {huge * kHuge, kHuge});
    }
    CHECK_THAT(message_of(status), Catch::Contains("make room in"));
}

TEST_CASE("a size that is not whole huge pages is refused by a hugetlbfs sink") {
    const HugePool pool(1);
    if (!pool) return;
    const auto sink = must(open_page_sink(pool.folder() / "image"));
    const RegionInfo region{"ram", kHugePageSize + kPageSize};
    CHECK_THAT(message_of(sink->prepare({&region, 1})), Catch::Contains("2097152"));
}

}  // namespace
}  // namespace migrate::memory
