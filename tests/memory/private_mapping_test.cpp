// SPDX-License-Identifier: Apache-2.0
// Private memory of another process that is replaced after it was opened.
#include "memory/foreign/private_mapping.hpp"

#include "memory/foreign/still_mapped.hpp"
#include "tests/catch.hpp"
#include "tests/memory/private_process.hpp"

namespace migrate::memory {
namespace {

using Catch::Matchers::Contains;

constexpr std::uint64_t kPages = 16;
const std::vector<RegionInfo> kRam{{"ram", kPages* kPageSize}};

ProcessMapping anonymous(std::uint64_t start, std::uint64_t end) {
    ProcessMapping mapping;
    mapping.start = start;
    mapping.end = end;
    mapping.readable = mapping.writable = true;
    return mapping;
}

TEST_CASE("private mappings that continue one another are one, cut to the range") {
    const std::vector<ProcessMapping> all{anonymous(0x1000, 0x3000), anonymous(0x3000, 0x9000)};
    const auto found = private_mappings_in(all, 0x2000, 0x5000);
    REQUIRE(found.size() == 1);
    PrivateMapping expected;
    expected.start = 0x2000;
    expected.end = 0x5000;
    expected.writable = true;
    CHECK(found[0] == expected);
}

TEST_CASE("private mappings of a file are one if their places in it follow each other") {
    std::vector<ProcessMapping> all{anonymous(0x1000, 0x3000), anonymous(0x3000, 0x9000)};
    for (ProcessMapping& mapping : all) mapping.file = {.device = 1, .inode = 2};
    all[1].file_offset = 0x2000;
    CHECK(private_mappings_in(all, 0x2000, 0x5000).size() == 1);
    CHECK(private_mappings_in(all, 0x2000, 0x5000)[0].file_offset == 0x1000);
    all[1].file_offset = 0x1000;
    CHECK(private_mappings_in(all, 0x2000, 0x5000).size() == 2);
    all[1].shared = true;
    CHECK(private_mappings_in(all, 0x2000, 0x5000).size() == 1);
}

TEST_CASE("private memory that is written, given back or advised is the same memory") {
    PrivateProcess process(kPages);
    const MemoryOwner owner = process.owner();
    process.fill(1, 9);
    process.discard(1);
    process.advise(3);
    CHECK(check_still_mapped(owner, kRam));
}

TEST_CASE("private memory that the process has replaced or unmapped is other memory") {
    PrivateProcess process(kPages);
    const MemoryOwner owner = process.owner();
    SECTION("a page is shared now") { process.map_shared(2); }
    SECTION("a page is unmapped") { process.unmap(2); }
    SECTION("the process has ended") {
        process.end();
        CHECK_FALSE(check_still_mapped(owner, kRam));
        return;
    }
    CHECK_THAT(message_of(check_still_mapped(owner, kRam)),
               Contains("has other memory at the address of its memory 'ram'"));
}

}  // namespace
}  // namespace migrate::memory
