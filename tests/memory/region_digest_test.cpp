// SPDX-License-Identifier: Apache-2.0
#include "memory/region_digest.hpp"

#include <cstring>

#include "catch.hpp"
#include "memory/digest.hpp"
#include "tests/support/must.hpp"
#include "tests/support/recording_sink.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::memory {
namespace {

TEST_CASE("the digest of a source does not depend on the number of threads") {
    const auto source = must(open_page_source("anon:160M,fill=mixed:25"));
    const Digest expected =
        digest_pages(source->memory(RegionId{0}), {0, source->regions()[0].pages()});
    for (const unsigned threads : {1U, 2U, 5U}) {
        const auto digests = must(digest_source(*source, threads, {}));
        REQUIRE(digests.size() == 1);
        CHECK(digests[0] == expected);
    }
}

TEST_CASE("untouched memory digests as zero without being read") {
    const auto source = must(open_page_source("anon:1T"));
    CHECK(must(digest_source(*source, 2, {}))[0] == Digest{});
}

TEST_CASE("every sink digests to what the same pages in a source do") {
    const TemporaryFolder folder;
    write_sparse_file(folder / "image", 9000, {0, 1, 700, 701, 702, 8999});
    const auto source = must(open_page_source(folder / "image"));
    const Digest expected = must(digest_source(*source, 2, {}))[0];
    CHECK(expected != Digest{});
    for (const std::string& uri : {std::string("anon:"), std::string("anon:huge=off"),
                                   std::string("memfd:"), "file:" + folder / "copy"}) {
        const auto sink = must(open_page_sink(uri));
        must(sink->prepare(source->regions()));
        for (const std::uint64_t page : {0U, 1U, 700U, 701U, 702U, 8999U}) {
            std::memcpy(sink->memory(RegionId{0}).data() + page * kPageSize,
                        source->memory(RegionId{0}).data() + page * kPageSize, kPageSize);
        }
        INFO(uri);
        CHECK(must(digest_sink(*sink, source->regions(), 2, {}))[0] == expected);
    }
}

TEST_CASE("each region has its own digest") {
    RecordingSink sink;
    const std::vector<RegionInfo> regions{
        {"a", 3 * kPageSize}, {"b", 5 * kPageSize}, {"c", kPageSize}};
    must(sink.prepare(regions));
    sink.memory(RegionId{0})[0] = std::byte{1};
    sink.memory(RegionId{2})[0] = std::byte{1};
    const auto digests = must(digest_sink(sink, regions, 3, {}));
    REQUIRE(digests.size() == 3);
    CHECK(digests[0] != Digest{});
    CHECK(digests[0] == digests[2]);
    CHECK(digests[1] == Digest{});
}

TEST_CASE("a digest ends early when it is told to stop") {
    const auto source = must(open_page_source("anon:64M,fill=random"));
    std::stop_source stop;
    stop.request_stop();
    const auto digests = digest_source(*source, 2, stop.get_token());
    REQUIRE_FALSE(digests);
    CHECK(digests.error().kind() == ErrorKind::kCancelled);
}

TEST_CASE("a sink that keeps nothing has no digest") {
    const auto sink = must(open_page_sink("null:"));
    const RegionInfo region{"ram", kPageSize};
    must(sink->prepare({&region, 1}));
    CHECK_FALSE(digest_sink(*sink, {&region, 1}, 1, {}));
}

}  // namespace
}  // namespace migrate::memory
