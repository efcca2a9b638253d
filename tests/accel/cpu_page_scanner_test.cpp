// SPDX-License-Identifier: Apache-2.0
#include "accel/cpu_page_scanner.hpp"

#include <sys/mman.h>

#include <random>
#include <vector>

#include "base/fd.hpp"
#include "base/units.hpp"
#include "catch.hpp"
#include "tests/accel/mapped_pages.hpp"

namespace migrate::accel {
namespace {

constexpr unsigned kScannerSeed = 20240401;

bool bit(const std::vector<std::uint64_t>& map, std::uint64_t page) {
    return ((map[page / 64] >> (page % 64)) & 1U) != 0;
}

Result<std::unique_ptr<PageScanner>> make_cpu_page_scanner(std::string_view kernel) {
    MIGRATE_ASSIGN(const ZeroKernel* found, find_zero_kernel(kernel));
    return std::unique_ptr<PageScanner>(std::make_unique<CpuPageScanner>(*found));
}

std::size_t calls_of_probe = 0;
bool probe(const std::byte*) {
    ++calls_of_probe;
    return calls_of_probe % 2 == 0;
}

TEST_CASE("a scanner answers each page of a batch of several extents in its place") {
    INFO("seed " << kScannerSeed);
    std::mt19937 random(kScannerSeed);
    constexpr std::uint32_t kPages = 300;
    const Mapping memory = map_pages(kPages);
    std::vector<bool> zero(kPages);
    for (std::uint64_t page = 0; page < kPages; ++page) {
        zero[page] = random() % 2 == 0;
        if (!zero[page]) memory.data()[page * kPageSize + random() % kPageSize] = std::byte{7};
    }
    // From back to front, so that an answer in the order of addresses would be wrong.
    const std::vector<PageExtent> batch{{memory.data() + 171 * kPageSize, 129},
                                        {memory.data() + 170 * kPageSize, 1},
                                        {memory.data(), 170}};
    for (const ZeroKernel* kernel : runnable_zero_kernels()) {
        auto scanner = make_cpu_page_scanner(kernel->name);
        REQUIRE(scanner);
        CHECK((*scanner)->name() == kernel->name);
        (*scanner)->submit(batch);
        std::vector<std::uint64_t> map((kPages + 63) / 64, ~std::uint64_t{0});
        REQUIRE((*scanner)->collect(map));
        std::uint64_t at = 0;
        std::uint64_t wrong = 0;
        for (const PageExtent& extent : batch) {
            const auto first = static_cast<std::uint64_t>(extent.data - memory.data()) / kPageSize;
            for (std::uint64_t i = 0; i < extent.pages; ++i)
                wrong += bit(map, at++) != zero[first + i];
        }
        CHECK(wrong == 0);
    }
}

TEST_CASE("a scanner collects batches in the order of submission up to its depth") {
    auto scanner = make_cpu_page_scanner("auto");
    REQUIRE(scanner);
    const std::size_t depth = (*scanner)->depth();
    REQUIRE(depth >= 2);
    const Mapping memory = map_pages(depth);
    for (int turn = 0; turn < 3; ++turn) {
        for (std::size_t i = 0; i < depth; ++i) {
            memory.data()[i * kPageSize] = std::byte{static_cast<unsigned char>(i % 2)};
            const PageExtent extent{memory.data() + i * kPageSize, 1};
            (*scanner)->submit({&extent, 1});
        }
        for (std::size_t i = 0; i < depth; ++i) {
            std::vector<std::uint64_t> map(1);
            REQUIRE((*scanner)->collect(map));
            CHECK(map[0] == (i % 2 == 0 ? 1U : 0U));
        }
    }
}

TEST_CASE("a scanner keeps its own copy of the extents") {
    auto scanner = make_cpu_page_scanner("auto");
    REQUIRE(scanner);
    const Mapping memory = map_pages(2);
    memory.data()[kPageSize] = std::byte{1};
    std::vector<PageExtent> batch{{memory.data(), 1}};
    (*scanner)->submit(batch);
    batch[0].data += kPageSize;
    std::vector<std::uint64_t> map(1);
    REQUIRE((*scanner)->collect(map));
    CHECK(map[0] == 1);
}

TEST_CASE("submitting reads no page, collecting asks the given kernel once for each") {
    const ZeroKernel kernel{"probe", 0, [] { return true; }, probe};
    CpuPageScanner scanner(kernel);
    CHECK(scanner.name() == "probe");
    const Mapping memory = map_pages(70);
    const PageExtent extent{memory.data(), 70};
    calls_of_probe = 0;
    scanner.submit({&extent, 1});
    CHECK(calls_of_probe == 0);
    std::vector<std::uint64_t> map(2);
    REQUIRE(scanner.collect(map));
    CHECK(calls_of_probe == 70);
    CHECK(map[0] == 0xAAAAAAAAAAAAAAAAU);
    CHECK(map[1] == 0x2AU);
}

TEST_CASE("a scanner is not made for a kernel that does not exist") {
    const auto scanner = make_cpu_page_scanner("fast");
    REQUIRE_FALSE(scanner);
    CHECK(scanner.error().kind() == ErrorKind::kUsage);
}

}  // namespace
}  // namespace migrate::accel
