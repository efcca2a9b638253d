// SPDX-License-Identifier: Apache-2.0
#include "memory/source/population.hpp"

#include <sys/sysinfo.h>

#include <random>

#include "catch.hpp"
#include "memory/anon_mapping.hpp"
#include "memory/sink/populate.hpp"
#include "tests/memory/guest_memory.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::memory {
namespace {

constexpr unsigned kPopulationSeed = 23;

// One letter a page: '#' populated, '.' not. Also checks order, gaps and merging.
std::string drawing(const std::vector<PopulationExtent>& extents, std::uint64_t first) {
    std::string text;
    for (std::size_t i = 0; i < extents.size(); ++i) {
        REQUIRE(extents[i].pages.first == first + text.size());
        REQUIRE(extents[i].pages.count > 0);
        REQUIRE((i == 0 || extents[i].populated != extents[i - 1].populated));
        text += std::string(extents[i].pages.count, extents[i].populated ? '#' : '.');
    }
    return text;
}

std::string of_memory(std::span<const std::byte> memory, PageRange range,
                      PagemapPopulation::Method method) {
    const auto population = must(PagemapPopulation::create(method));
    std::vector<PopulationExtent> extents;
    must(population.query(memory, range, extents));
    return drawing(extents, range.first);
}

std::string of_memory(const Mapping& memory, PageRange range, PagemapPopulation::Method method) {
    return of_memory(memory.bytes(), range, method);
}

std::string of_file(const std::string& path, std::uint64_t pages, PageRange range) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::vector<PopulationExtent> extents;
    must(FilePopulation(file.get(), pages * kPageSize).query(range, extents));
    return drawing(extents, range.first);
}

constexpr auto kBothMethods = {PagemapPopulation::Method::kScanIfAvailable,
                               PagemapPopulation::Method::kReadEntries};

TEST_CASE(
    "written pages of private memory are populated and untouched ones are not, by either method") {
    const Mapping memory = must(map_anonymous(10 * kPageSize, HugePages::kOff, "test"));
    for (const std::uint64_t page : {0U, 3U, 4U, 9U})
        memory.data()[page * kPageSize] = std::byte{1};
    for (const auto method : kBothMethods) {
        CHECK(of_memory(memory, {0, 10}, method) == "#..##....#");
        CHECK(of_memory(memory, {1, 2}, method) == "..");
        CHECK(of_memory(memory, {3, 1}, method) == "#");
        CHECK(of_memory(memory, {4, 6}, method) == "#....#");
        CHECK(of_memory(memory, {4, 0}, method).empty());
    }
}

TEST_CASE("a page written with zeros is populated, by either method") {
    const Mapping memory = must(map_anonymous(4 * kPageSize, HugePages::kOff, "test"));
    memory.data()[2 * kPageSize] = std::byte{0};
    for (const auto method : kBothMethods) CHECK(of_memory(memory, {0, 4}, method) == "..#.");
}

TEST_CASE("pages that only map the kernel's zero page are unpopulated where the kernel can tell") {
    for (const HugePages huge : {HugePages::kOff, HugePages::kOn}) {
        const Mapping memory = must(map_anonymous(2 * kHugePageSize, huge, "test"));
        REQUIRE(populate(memory.bytes(), PopulateFor::kReading) == 0);
        memory.data()[5 * kPageSize] = std::byte{1};
        const auto population = must(PagemapPopulation::create());
        if (!population.scans()) {
            WARN("skipped: this kernel has no PAGEMAP_SCAN");
            return;
        }
        const std::string found = of_memory(memory, {0, 2 * kPagesPerHugePage},
                                            PagemapPopulation::Method::kScanIfAvailable);
        CHECK(found[5] == '#');
        CHECK(found.substr(kPagesPerHugePage) == std::string(kPagesPerHugePage, '.'));
    }
}

TEST_CASE("both methods agree on memory with more extents than one scan returns") {
    INFO("seed " << kPopulationSeed);
    std::mt19937 random(kPopulationSeed);
    constexpr std::uint64_t kPages = 5000;
    const Mapping memory = must(map_anonymous(kPages * kPageSize, HugePages::kOff, "test"));
    std::string expected(kPages, '.');
    for (std::uint64_t page = 0; page < kPages; ++page) {
        if (random() % 3 != 0) continue;
        memory.data()[page * kPageSize] = std::byte{1};
        expected[page] = '#';
    }
    for (const auto method : kBothMethods) {
        CHECK((of_memory(memory, {0, kPages}, method) == expected));
        CHECK((of_memory(memory, {777, 3000}, method) == expected.substr(777, 3000)));
    }
}

// On a host with swap, protected memory that was never touched may be reported as populated.
bool can_tell_markers() {
    struct sysinfo host {};
    REQUIRE(::sysinfo(&host) == 0);
    if (!probe_dirty_trackers()[0].usable || host.totalswap != 0) {
        WARN("skipped: this host has no uffd-wp, or it has swap");
        return false;
    }
    return true;
}

TEST_CASE("untouched memory stays unpopulated while uffd-wp tracks it, by either method") {
    if (!can_tell_markers()) return;
    // More than mincore() is asked for at a time.
    constexpr std::uint64_t kPages = 20 * kPagesPerHugePage;
    INFO("seed " << kPopulationSeed);
    for (const GuestMemoryKind kind : {GuestMemoryKind::kSmallPages, GuestMemoryKind::kHugePages}) {
        const GuestMemory memory(kind, kPages);
        INFO(name_of(kind));
        const std::span<const std::byte> bytes = memory.memory(RegionId{0});
        std::mt19937 random(kPopulationSeed);
        memory.fill({3 * kPagesPerHugePage, 2 * kPagesPerHugePage});
        memory.fill({700, 1});
        const auto tracker = must(make_dirty_tracker("uffd-wp", memory));
        std::string expected =
            of_memory(bytes, {0, kPages}, PagemapPopulation::Method::kScanIfAvailable);
        REQUIRE(expected[0] == '.');
        REQUIRE(expected[700] == '#');
        must(tracker->start());
        for (const auto method : kBothMethods) {
            CHECK((of_memory(bytes, {0, kPages}, method) == expected));
        }

        for (std::uint64_t page = kPages / 2; page < kPages - 5000; ++page) {
            if (random() % 3 != 0) continue;
            memory.fill({page, 1});
            expected[page] = '#';
        }
        memory.fill({kPages - 2, 1}, 0);
        expected[kPages - 2] = '#';
        memory.fill({3 * kPagesPerHugePage + 1, 1});  // splits a huge page
        memory.give_back({4 * kPagesPerHugePage + 7, 2});
        expected.replace(4 * kPagesPerHugePage + 7, 2, "..");
        std::vector<PageBitmap> dirty;
        dirty.push_back(must(PageBitmap::create(kPages)));
        for (int round = 0; round < 2; ++round) {
            for (const auto method : kBothMethods) {
                CHECK((of_memory(bytes, {0, kPages}, method) == expected));
                CHECK((of_memory(bytes, {699, 7000}, method) == expected.substr(699, 7000)));
            }
            must(tracker->collect(dirty, {}));  // protects what was written
        }
    }
}

TEST_CASE("extents are appended behind those that are there, which stay as they are") {
    const Mapping memory = must(map_anonymous(4 * kPageSize, HugePages::kOff, "test"));
    const auto population = must(PagemapPopulation::create());
    std::vector<PopulationExtent> extents;
    must(population.query(memory.bytes(), {0, 2}, extents));
    must(population.query(memory.bytes(), {2, 2}, extents));
    REQUIRE(extents.size() == 2);
    CHECK(extents[0].pages == PageRange{0, 2});
    CHECK(extents[1].pages == PageRange{2, 2});
}

TEST_CASE("holes of a file are unpopulated, its data is populated") {
    for (const std::string parent : {"/tmp", "/dev/shm"}) {
        const TemporaryFolder folder(parent);
        const std::string path = folder / "sparse";
        write_sparse_file(path, 40, {1, 2, 17, 39});
        INFO(parent);
        const std::string whole = of_file(path, 40, {0, 40});
        CHECK(whole == ".##..............#.....................#");
        for (std::uint64_t first = 0; first < 40; ++first) {
            CHECK(of_file(path, 40, {first, 40 - first}) == whole.substr(first));
            CHECK(of_file(path, 40, {0, first}) == whole.substr(0, first));
        }
    }
}

TEST_CASE("a file without data is one hole, one without holes is all populated") {
    const TemporaryFolder folder;
    write_sparse_file(folder / "empty", 9, {});
    CHECK(of_file(folder / "empty", 9, {2, 5}) == ".....");
    write_sparse_file(folder / "full", 4, {0, 1, 2, 3});
    CHECK(of_file(folder / "full", 4, {0, 4}) == "####");
}

TEST_CASE("data that was found once is data, until its holes are to be looked for anew") {
    const TemporaryFolder folder;
    const std::string path = folder / "image";
    write_sparse_file(path, 16, {0, 1, 2, 3, 4, 5, 6, 7, 12});
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    const FilePopulation population(file.get(), 16 * kPageSize);
    const auto found = [&](PageRange range) {
        std::vector<PopulationExtent> extents;
        must(population.query(range, extents));
        return drawing(extents, range.first);
    };
    CHECK(found({0, 2}) == "##");
    REQUIRE(::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4 * kPageSize,
                        2 * kPageSize) == 0);
    CHECK(found({2, 8}) == "######..");
    population.forget();
    CHECK(found({2, 8}) == "##..##..");
    CHECK(found({6, 10}) == "##....#...");
    CHECK(found({0, 8}) == "####..##");
}

TEST_CASE("a tmpfs file with a block for each page has no holes but those of unwritten blocks") {
    const TemporaryFolder folder("/dev/shm");
    const std::string path = folder / "image";
    write_sparse_file(path, 16, {0, 1, 2, 3, 10});
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    const FilePopulation population(file.get(), 16 * kPageSize);
    const auto found = [&](PageRange range) {
        std::vector<PopulationExtent> extents;
        must(population.query(range, extents));
        return drawing(extents, range.first);
    };
    CHECK(found({0, 16}) == "####......#.....");
    population.forget();
    REQUIRE(::fallocate(file.get(), 0, 0, 16 * kPageSize) == 0);
    // A range that begins with data counts as data. That costs reading zeros, and loses nothing.
    CHECK(found({0, 8}) == "########");
    // A range that begins with pages without content does not.
    CHECK(found({4, 4}) == "....");
    CHECK(found({11, 5}) == ".....");
    REQUIRE(::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * kPageSize,
                        kPageSize) == 0);
    population.forget();
    CHECK(found({0, 8}) == "##.#....");
}

TEST_CASE("a file that became shorter is an error and not a hole") {
    const TemporaryFolder folder;
    const std::string path = folder / "image";
    write_sparse_file(path, 8, {0, 1, 2, 3, 4, 5, 6, 7});
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(::truncate(path.c_str(), 3 * kPageSize) == 0);
    std::vector<PopulationExtent> extents;
    CHECK_THAT(message_of(FilePopulation(file.get(), 8 * kPageSize).query({0, 8}, extents)),
               Catch::Contains("truncated from 32768 to 12288 bytes"));
    CHECK_FALSE(FilePopulation(file.get(), 8 * kPageSize).query({5, 1}, extents));
}

}  // namespace
}  // namespace migrate::memory
