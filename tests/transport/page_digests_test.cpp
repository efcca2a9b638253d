// SPDX-License-Identifier: Apache-2.0
#include "transport/page_digests.hpp"

#include <random>

#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/seed.hpp"
#include "transport/control_frame.hpp"

namespace migrate::transport {
namespace {

using Catch::Matchers::Contains;

const std::vector<RegionInfo> kRegions{{"ram", 1000 * kPageSize}, {"vga", 8 * kPageSize}};

PageDigest digest_of(std::uint64_t page) { return {page * 7 + 1, ~page}; }

std::string body_of(RegionId region, const std::vector<std::uint64_t>& pages) {
    PageDigestsBuilder builder;
    for (const std::uint64_t page : pages) REQUIRE(builder.add(region, page, digest_of(page)));
    return builder.take();
}

TEST_CASE("digests arrive with their pages, in order") {
    const PageDigests message =
        must(decode_page_digests(body_of(RegionId{0}, {3, 4, 5, 9, 500, 999}), kRegions));
    CHECK(message.region == RegionId{0});
    CHECK(message.pages == std::vector<PageRange>{{3, 3}, {9, 1}, {500, 1}, {999, 1}});
    REQUIRE(message.digests.size() == 6);
    CHECK(message.digests[0] == digest_of(3));
    CHECK(message.digests[5] == digest_of(999));
}

TEST_CASE("a builder takes pages of one region, up to the limit, and begins anew") {
    PageDigestsBuilder builder;
    for (std::uint64_t page = 0; page < kMostDigests; ++page) {
        REQUIRE(builder.add(RegionId{0}, page, digest_of(page)));
    }
    CHECK_FALSE(builder.add(RegionId{0}, kMostDigests, digest_of(0)));
    CHECK(builder.pages().size() == 1);
    const std::string full = builder.take();
    CHECK(full.size() <= kMaxFrameBody);
    CHECK(builder.empty());
    REQUIRE(builder.add(RegionId{1}, 2, digest_of(2)));
    CHECK_FALSE(builder.add(RegionId{0}, 3, digest_of(3)));
    CHECK(must(decode_page_digests(builder.take(), kRegions)).region == RegionId{1});
}

TEST_CASE("the scattered pages of a large region fit into a frame's body") {
    PageDigestsBuilder builder;
    std::uint64_t page = 0;
    while (builder.add(RegionId{0}, page, digest_of(page))) page += std::uint64_t{1} << 40U;
    CHECK(builder.take().size() <= kMaxFrameBody);
}

TEST_CASE("PAGE_DIGESTS is refused if it is cut off at any byte") {
    const std::string body = body_of(RegionId{0}, {1, 2, 7, 300});
    for (std::size_t length = 0; length < body.size(); ++length) {
        const auto result = decode_page_digests(body.substr(0, length), kRegions);
        REQUIRE_FALSE(result);
        CHECK(result.error().kind() == ErrorKind::kProtocol);
    }
    CHECK_FALSE(decode_page_digests(body + '\0', kRegions));
}

TEST_CASE("PAGE_DIGESTS is refused by name if it is for other pages than those agreed on") {
    CHECK_THAT(message_of(decode_page_digests(body_of(RegionId{2}, {1}), kRegions)),
               Contains("region 2"));
    CHECK_THAT(message_of(decode_page_digests(body_of(RegionId{1}, {8}), kRegions)),
               Contains("'vga' has 8 pages"));
    std::string zeros = body_of(RegionId{0}, {1});
    zeros[16] = static_cast<char>(1 << 2 | 1);  // a run of a zero page
    CHECK_THAT(message_of(decode_page_digests(zeros, kRegions)), Contains("without content"));
    std::string more = body_of(RegionId{0}, {1});
    more[16] = static_cast<char>(2 << 2);  // a run of two pages
    CHECK_THAT(message_of(decode_page_digests(more, kRegions)),
               Contains("names 2 pages and has 1 digests"));
}

TEST_CASE("random damage of PAGE_DIGESTS is an error or another valid message") {
    std::mt19937 random(test_seed());
    const std::string body = body_of(RegionId{0}, {1, 2, 7, 300});
    for (int turn = 0; turn < 20'000; ++turn) {
        std::string damaged = body;
        for (int i = 0; i < 3; ++i) damaged[random() % 24] = static_cast<char>(random());
        const auto message = decode_page_digests(damaged, kRegions);
        if (!message) continue;
        std::uint64_t pages = 0;
        std::uint64_t next = 0;
        for (const PageRange& range : message->pages) {
            REQUIRE(range.first >= next);
            next = range.end();
            pages += range.count;
        }
        REQUIRE(next <= kRegions[index_of(message->region)].pages());
        REQUIRE(pages == message->digests.size());
    }
}

TEST_CASE("an answer has a bit for each page that was asked for, and nothing else") {
    for (const std::size_t count : {std::size_t{1}, std::size_t{8}, std::size_t{13}}) {
        std::vector<bool> reused(count);
        for (std::size_t i = 0; i < count; i += 3) reused[i] = true;
        const std::string body = encode_pages_reused(reused);
        CHECK(must(decode_pages_reused(body, count)) == reused);
        CHECK_FALSE(decode_pages_reused(body.substr(1), count));
        CHECK_FALSE(decode_pages_reused(body + '\0', count));
    }
    CHECK_THAT(message_of(decode_pages_reused("\x20", 5)), Contains("nobody asked for"));
}

}  // namespace
}  // namespace migrate::transport
