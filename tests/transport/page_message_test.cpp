// SPDX-License-Identifier: Apache-2.0
#include "transport/page_message.hpp"

#include <vector>

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::transport {
namespace {

const std::vector<RegionInfo>& regions() {
    static const std::vector<RegionInfo> kRegions{{"ram", 100 * kPageSize}};
    return kRegions;
}

Result<PageMessage> decode(const PageMessageBytes& bytes, Party from) {
    return decode_page_message(bytes, from, regions());
}

// Encodes and decodes a message that comes from the sender.
Result<PageMessage> pass(const PageMessage& message, std::size_t payload_bytes) {
    PayloadChecksum checksum;
    const std::vector<std::byte> payload(payload_bytes);
    return decode(encode_page_message(message, payload, checksum), Party::kSender);
}

TEST_CASE("a message of post-copy arrives as it was sent, and any damage is noticed") {
    PayloadChecksum checksum;
    const std::vector<std::byte> payload(2 * kPageSize, std::byte{7});
    const PageMessageBytes bytes = encode_page_message(
        {.kind = PageMessageKind::kPages, .region = RegionId{0}, .count = 2, .page = 98}, payload,
        checksum);
    const PageMessage message = must(decode(bytes, Party::kSender));
    CHECK(message.kind == PageMessageKind::kPages);
    CHECK(message.pages() == PageRange{98, 2});
    CHECK(message.payload_bytes == payload.size());
    must(check_page_message(bytes, payload, checksum));
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        PageMessageBytes damaged = bytes;
        damaged[i] ^= std::byte{1};
        INFO(i);
        const bool passes =
            decode(damaged, Party::kSender) && check_page_message(damaged, payload, checksum);
        CHECK_FALSE(passes);
    }
    std::vector<std::byte> other = payload;
    other.back() ^= std::byte{1};
    CHECK_FALSE(check_page_message(bytes, other, checksum));
}

TEST_CASE("a message of post-copy names pages of its region only") {
    const auto pages = [](std::uint64_t page, std::uint32_t count, std::uint16_t region = 0) {
        return PageMessage{.kind = PageMessageKind::kZeroPages,
                           .region = RegionId{region},
                           .count = count,
                           .page = page};
    };
    CHECK(pass(pages(0, 100), 0));
    CHECK(pass(pages(99, 1), 0));
    CHECK_FALSE(pass(pages(0, 101), 0));
    CHECK_FALSE(pass(pages(100, 1), 0));
    CHECK_FALSE(pass(pages(5, 0), 0));
    CHECK_FALSE(pass(pages(UINT64_MAX, 2), 0));
    CHECK_FALSE(pass(pages(0, 1, 1), 0));
}

TEST_CASE("a message of post-copy has the payload of its kind, and comes from the right side") {
    const PageMessage content{
        .kind = PageMessageKind::kPages, .region = RegionId{0}, .count = 2, .page = 0};
    CHECK(pass(content, 2 * kPageSize));
    CHECK_FALSE(pass(content, kPageSize));
    PageMessage many = content;
    many.count = kMostPagesPerMessage + 1;
    CHECK_FALSE(pass(many, many.count * kPageSize));
    CHECK_FALSE(pass({.kind = PageMessageKind::kPing}, 1));
    CHECK(pass({.kind = PageMessageKind::kPing}, 0));
    CHECK_FALSE(pass({.kind = PageMessageKind::kPong}, 0));
    PayloadChecksum checksum;
    CHECK(decode(encode_page_message({.kind = PageMessageKind::kPong}, {}, checksum),
                 Party::kReceiver));
    CHECK_FALSE(decode(encode_page_message({.kind = PageMessageKind::kBye}, {}, checksum),
                       Party::kReceiver));
    CHECK_FALSE(
        decode(encode_page_message({.kind = static_cast<PageMessageKind>(99)}, {}, checksum),
               Party::kReceiver));
}

}  // namespace
}  // namespace migrate::transport
