// SPDX-License-Identifier: Apache-2.0
// Which memory a VMM may give, and what it says about itself.
#include "lib/given_region.hpp"

#include <fcntl.h>

#include <string>
#include <vector>

#include "catch.hpp"
#include "tests/lib/small_vmm.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::lib {
namespace {

constexpr std::uint64_t kSize = 4 * kMiB;

RegionSpec spec_of(std::span<std::byte> memory) {
    return {.name = "ram", .address = memory.data(), .size_bytes = memory.size()};
}

Result<GivenRegion> make(const RegionSpec& spec) {
    return GivenRegion::create(spec, must(own_mappings()));
}

std::string refusal(const RegionSpec& spec) {
    const auto made = make(spec);
    if (!made) CHECK(made.error().kind() == ErrorKind::kUsage);
    return message_of(made);
}

Mapping map_shared(const UniqueFd& file, std::uint64_t size) {
    return must(Mapping::create({.size = size,
                                 .protection = PROT_READ | PROT_WRITE,
                                 .flags = MAP_SHARED,
                                 .fd = file.get(),
                                 .what = "memory"}));
}

std::uint64_t populated_pages(const GivenRegion& region) {
    std::vector<memory::PopulationExtent> extents;
    must(region.population({0, region.info().pages()}, extents));
    std::uint64_t pages = 0;
    std::uint64_t next = 0;
    for (const memory::PopulationExtent& extent : extents) {
        CHECK(extent.pages.first == next);
        next = extent.pages.end();
        if (extent.populated) pages += extent.pages.count;
    }
    CHECK(next == region.info().pages());
    return pages;
}

TEST_CASE("memory that is not what the caller says is refused") {
    const Mapping memory = private_memory(kSize);
    const UniqueFd file = make_memfd(kSize);
    const Mapping shared = map_shared(file, kSize);
    RegionSpec spec = spec_of(memory.bytes());
    REQUIRE(make(spec));

    SECTION("numbers") {
        spec.name = "";
        CHECK_THAT(refusal(spec), Catch::Contains("1 … 255"));
        spec.name = std::string(256, 'x');
        CHECK_THAT(refusal(spec), Catch::Contains("256"));
        spec = spec_of(memory.bytes().subspan(1));
        CHECK_THAT(refusal(spec), Catch::Contains("its size"));
        spec = spec_of(memory.bytes());
        spec.address += 8;
        CHECK_THAT(refusal(spec), Catch::Contains("its address"));
        spec = spec_of(memory.bytes());
        spec.size_bytes = 0;
        CHECK_THAT(refusal(spec), Catch::Contains("its size"));
        spec = spec_of(memory.bytes());
        spec.size_bytes = ~std::uint64_t{0} - 4095;
        CHECK_FALSE(refusal(spec).empty());
        for (const std::uint64_t page_size : {1U, 2048U, 12288U}) {
            spec = spec_of(memory.bytes());
            spec.page_size = page_size;
            CHECK_THAT(refusal(spec), Catch::Contains("page_size"));
        }
        spec = spec_of(memory.bytes());
        spec.offset = kPageSize;
        CHECK_THAT(refusal(spec), Catch::Contains("no offset"));
        CHECK_THAT(refusal({.name = "ram", .size_bytes = kSize}), Catch::Contains("neither"));
    }
    SECTION("memory that is not mapped, or not writable") {
        spec.size_bytes = std::uint64_t{1} << 45U;
        CHECK_THAT(refusal(spec), Catch::Contains("region 'ram'"));
        REQUIRE(::mprotect(memory.data(), kPageSize, PROT_READ) == 0);
        CHECK_THAT(refusal(spec_of(memory.bytes())), Catch::Contains("writable"));
    }
    SECTION("shared memory without its descriptor") {
        CHECK_THAT(refusal(spec_of(shared.bytes())), Catch::Contains("descriptor"));
    }
    SECTION("a private mapping of a file") {
        const Mapping copy = must(Mapping::create({.size = kSize,
                                                   .protection = PROT_READ | PROT_WRITE,
                                                   .flags = MAP_PRIVATE,
                                                   .fd = file.get(),
                                                   .what = "memory"}));
        CHECK_THAT(refusal(spec_of(copy.bytes())), Catch::Contains("private mapping of a file"));
    }
    SECTION("a descriptor of other memory") {
        const UniqueFd other = make_memfd(kSize);
        spec = spec_of(shared.bytes());
        spec.fd = other.get();
        CHECK_THAT(refusal(spec), Catch::Contains("shared mapping of its descriptor"));
        spec.fd = file.get();
        REQUIRE(make(spec));
        spec.size_bytes = kMiB;
        spec.offset = kMiB;
        CHECK_THAT(refusal(spec), Catch::Contains("at its offset"));
        spec = spec_of(memory.bytes());
        spec.fd = file.get();
        CHECK_THAT(refusal(spec), Catch::Contains("shared mapping of its descriptor"));
    }
    SECTION("a file that is too short, cannot be written, or is none") {
        spec = {.name = "ram", .size_bytes = kSize, .fd = file.get(), .offset = kPageSize};
        CHECK_THAT(refusal(spec), Catch::Contains("its file has"));
        const TemporaryFolder folder;
        const std::string path = folder.path() + "/file";
        const UniqueFd made(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        REQUIRE(::ftruncate(made.get(), kSize) == 0);
        const UniqueFd readable(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        spec = {.name = "ram", .size_bytes = kSize, .fd = readable.get()};
        CHECK_THAT(refusal(spec), Catch::Contains("reading and writing"));
        const UniqueFd directory(::open("/", O_RDONLY | O_CLOEXEC));
        spec.fd = directory.get();
        CHECK_THAT(refusal(spec), Catch::Contains("not that of a file"));
        spec.fd = 12345;
        CHECK_THAT(refusal(spec), Catch::Contains("descriptor"));
    }
}

TEST_CASE("two regions share neither a name nor memory") {
    const Mapping memory = private_memory(kSize);
    std::vector<RegionSpec> specs{spec_of(memory.bytes().first(kMiB)),
                                  spec_of(memory.bytes().subspan(kMiB))};
    CHECK_THAT(message_of(check_distinct(specs)), Catch::Contains("this name"));
    specs[1].name = "high";
    must(check_distinct(specs));
    specs[0].size_bytes += kPageSize;
    CHECK_THAT(message_of(check_distinct(specs)), Catch::Contains("shares memory"));
    // Regions that are not mapped have no address.
    specs = {{.name = "a", .size_bytes = kSize, .fd = 3},
             {.name = "b", .size_bytes = kSize, .fd = 3}};
    must(check_distinct(specs));
}

TEST_CASE("pages that were never written are found, and cleared memory has none") {
    constexpr std::uint64_t kOffset = kMiB;
    const Mapping memory = private_memory(kSize);
    const UniqueFd file = make_memfd(kSize + kOffset);
    const Mapping shared = map_shared(file, kSize + kOffset);
    RegionSpec spec;
    SECTION("private memory") { spec = spec_of(memory.bytes()); }
    SECTION("a part of a file") {
        std::memset(shared.data(), 1, kOffset);
        spec = spec_of(shared.bytes().subspan(kOffset));
        spec.fd = file.get();
        spec.offset = kOffset;
    }
    const GivenRegion region = must(make(spec));
    CHECK(populated_pages(region) == 0);
    std::memset(spec.address, 2, 3 * kPageSize);
    std::memset(spec.address + kMiB, 2, 3 * kMiB);
    region.look_again();
    CHECK(populated_pages(region) == 3 + 3 * kMiB / kPageSize);
    // A short run is overwritten, a long one is given back.
    must(region.clear({1, 1}));
    CHECK(spec.address[kPageSize] == std::byte{0});
    CHECK(spec.address[2 * kPageSize] == std::byte{2});
    must(region.clear_all({}));
    for (std::uint64_t i = 0; i < kSize; i += kPageSize) REQUIRE(spec.address[i] == std::byte{0});
    CHECK((spec.fd < 0 || shared.bytes()[kOffset - 1] == std::byte{1}));
}

TEST_CASE("clearing memory can be cancelled") {
    const Mapping memory = private_memory(kSize);
    std::memset(memory.data(), 2, kSize);
    const GivenRegion region = must(make(spec_of(memory.bytes())));
    std::stop_source stop;
    stop.request_stop();
    const Status cleared = region.clear_all(stop.get_token());
    REQUIRE_FALSE(cleared);
    CHECK(cleared.error().kind() == ErrorKind::kCancelled);
}

}  // namespace
}  // namespace migrate::lib
