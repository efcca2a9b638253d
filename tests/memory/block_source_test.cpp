// SPDX-License-Identifier: Apache-2.0
// Private memory of another process as a source.
#include "memory/source/block_source.hpp"

#include <algorithm>
#include <array>

#include "memory/dirty/dirty_tracker.hpp"
#include "memory/foreign/foreign_userfaultfd.hpp"
#include "memory/foreign/process_maps.hpp"
#include "memory/region_digest.hpp"
#include "memory/source/page_content.hpp"
#include "tests/catch.hpp"
#include "tests/memory/private_process.hpp"

namespace migrate::memory {
namespace {

using Catch::Matchers::Contains;

constexpr std::uint64_t kPages = 64;

std::vector<std::byte> content_of(const PageSource& source, PageRange pages) {
    std::vector<std::byte> content(pages.size_bytes());
    must(source.read(RegionId{}, pages, content.data()));
    return content;
}

std::uint64_t populated_pages(const PageSource& source) {
    std::vector<PopulationExtent> extents;
    must(source.population(RegionId{}, {0, source.regions()[0].pages()}, extents));
    std::uint64_t populated = 0;
    std::uint64_t next = 0;
    for (const PopulationExtent& extent : extents) {
        CHECK(extent.pages.first == next);
        next = extent.pages.end();
        if (extent.populated) populated += extent.pages.count;
    }
    CHECK(next == source.regions()[0].pages());
    return populated;
}

bool attaches(const std::string& tracker) {
    return tracker != "uffd-wp" ||
           (probe_foreign_userfaultfd() && probe_dirty_trackers()[0].usable);
}

TEST_CASE("private memory of another process is read from there") {
    PrivateProcess process(kPages);
    process.fill(3, 0xA5);
    process.fill(4, 0x5A);
    const auto source = process.source();
    CHECK_FALSE(source->is_mapped(RegionId{}));
    CHECK(source->memory(RegionId{}).empty());
    CHECK_FALSE(source->file_of(RegionId{}));
    const auto content = content_of(*source, {2, 4});
    const std::array<unsigned char, 4> expected{0, 0xA5, 0x5A, 0};
    for (std::size_t page = 0; page < expected.size(); ++page) {
        const auto* const begin = content.data() + page * kPageSize;
        CHECK(std::all_of(begin, begin + kPageSize,
                          [&](std::byte byte) { return byte == std::byte{expected[page]}; }));
    }
}

TEST_CASE("only pages that the other process has written are populated") {
    PrivateProcess process(kPages);
    const auto source = process.source();
    CHECK(populated_pages(*source) == 0);
    process.fill(0, 1);
    process.fill(kPages - 1, 1);
    CHECK(populated_pages(*source) == 2);
    process.discard(0);
    CHECK(populated_pages(*source) == 1);
}

TEST_CASE("pages that a tracker protects before anybody writes them stay unpopulated for root") {
    if (!attaches("uffd-wp") || ::geteuid() != 0) return;
    PrivateProcess process(kPages);
    const auto source = process.source();
    process.fill(7, 1);
    const auto tracker = must(make_dirty_tracker("uffd-wp", *source));
    must(tracker->start());
    CHECK(populated_pages(*source) == 1);
    process.fill(8, 1);
    CHECK(populated_pages(*source) == 2);
}

TEST_CASE("writes to private memory of another process are tracked") {
    for (const std::string name : {"uffd-wp", "hash"}) {
        if (!attaches(name)) continue;
        INFO(name);
        PrivateProcess process(kPages);
        for (std::uint64_t page = 0; page < kPages / 2; ++page) process.fill(page, 1);
        const auto source = process.source();
        const auto tracker = must(make_dirty_tracker(name, *source));
        must(tracker->start());
        for (std::uint64_t page = 0; page < kPages; ++page) {
            const auto copy = content_of(*source, {page, 1});
            tracker->sent(RegionId{}, {page, 1}, copy);
        }
        std::vector<PageBitmap> dirty;
        dirty.push_back(must(PageBitmap::create(kPages)));
        process.fill(2, 2);
        process.fill(kPages - 2, 2);
        must(tracker->collect(dirty, {}));
        CHECK(dirty[0].count({2, 1}) == 1);
        CHECK(dirty[0].count({kPages - 2, 1}) == 1);
        CHECK(dirty[0].count({0, kPages}) == 2);
        dirty[0].reset();
        process.discard(3);
        must(tracker->collect(dirty, {}));
        CHECK(dirty[0].count({3, 1}) == 1);
        must(tracker->check(Writers::kAll, std::string()));
    }
}

TEST_CASE("the digest of private memory is that of the same content here") {
    PrivateProcess process(kPages);
    for (std::uint64_t page = 0; page < kPages; page += 3) {
        process.fill(page, static_cast<unsigned char>(page));
    }
    const auto source = process.source();
    const auto content = content_of(*source, {0, kPages});
    CHECK(must(digest_source(*source, 2, {}))[0] == digest_pages(content, {0, kPages}));
}

TEST_CASE("pages that are looked at are page-aligned here, as zero kernels require") {
    PrivateProcess process(kPages);
    process.fill(5, 7);
    const auto source = process.source();
    PageContent content(*source);
    for (const PageRange pages : {PageRange{5, 1}, PageRange{4, 9}, PageRange{5, 2}}) {
        const std::byte* const at = must(content.of(RegionId{}, pages));
        CHECK(reinterpret_cast<std::uintptr_t>(at) % kPageSize == 0);
        CHECK(at[(5 - pages.first) * kPageSize] == std::byte{7});
    }
}

TEST_CASE("memory of a process that has ended cannot be read") {
    PrivateProcess process(kPages);
    const auto source = process.source();
    const ProcessMemory memory = process.access();
    process.end();
    std::array<std::byte, kPageSize> page{};
    CHECK_THAT(message_of(source->read(RegionId{}, {0, 1}, page.data())), Contains("has ended"));
    CHECK_THAT(message_of(memory.write(process.address(), page)), Contains("has ended"));
    CHECK_THAT(message_of(memory.check_alive()), Contains("has ended"));
}

TEST_CASE("memory that is not mapped in the other process is an error") {
    const PrivateProcess process(kPages);
    const ProcessMemory memory = process.access();
    std::array<std::byte, kPageSize> page{};
    CHECK_FALSE(memory.read(kPageSize, page));
    CHECK_FALSE(memory.write(kPageSize, page));
}

TEST_CASE("a line of /proc/PID/maps is parsed whole") {
    const auto shared = parse_mapping(
        "7f00-8f00 r--s 00001000 00:19 42                         /dev/shm/a b (deleted)");
    REQUIRE(shared);
    CHECK(shared->start == 0x7f00);
    CHECK(shared->end == 0x8f00);
    CHECK(shared->shared);
    CHECK_FALSE(shared->writable);
    CHECK(shared->file_offset == 0x1000);
    CHECK(shared->file.inode == 42);
    CHECK(shared->path == "/dev/shm/a b (deleted)");
    const auto anonymous = parse_mapping("7f00-8f00 rw-p 00000000 00:00 0 ");
    REQUIRE(anonymous);
    CHECK(anonymous->file == FileIdentity());
    CHECK_FALSE(anonymous->shared);
    CHECK(anonymous->path.empty());
    CHECK_FALSE(parse_mapping("7f00 rw-p"));
}

}  // namespace
}  // namespace migrate::memory
