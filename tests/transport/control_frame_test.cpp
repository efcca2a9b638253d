// SPDX-License-Identifier: Apache-2.0
#include "transport/control_frame.hpp"

#include <set>

#include "base/little_endian.hpp"
#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::transport {
namespace {

constexpr std::uint16_t kLastType = 29;
constexpr std::uint16_t kRetired = 14;  // GUEST_STATE of protocol version 1

std::span<const std::byte> bytes_of(const std::string& text) {
    return std::as_bytes(std::span(text));
}

std::array<std::byte, kFrameHeaderSize> header_with(std::uint16_t type, std::uint32_t size) {
    std::array<std::byte, kFrameHeaderSize> header{};
    const std::string good = encode_frame(FrameType::kReady, "");
    std::copy_n(bytes_of(good).begin(), header.size(), header.begin());
    store_le(&header[4], type);
    store_le(&header[8], size);
    return header;
}

TEST_CASE("frames of every type come out as they went in, fed byte by byte") {
    std::string stream;
    for (std::uint16_t type = 1; type <= kLastType; ++type) {
        if (type == kRetired) continue;
        stream += encode_frame(static_cast<FrameType>(type), std::string(type * 37U % 50, 'x'));
    }
    FrameParser parser;
    std::uint16_t expected = 1;
    for (const std::byte& byte : bytes_of(stream)) {
        parser.feed({&byte, 1});
        const auto frame = must(parser.next());
        if (!frame) continue;
        CHECK(frame->type == static_cast<FrameType>(expected));
        CHECK(frame->body == std::string(expected * 37U % 50, 'x'));
        if (++expected == kRetired) ++expected;
    }
    CHECK(expected == kLastType + 1);
    CHECK_FALSE(parser.in_mid_frame());
}

TEST_CASE("several frames in one piece come out one by one") {
    FrameParser parser;
    parser.feed(bytes_of(encode_frame(FrameType::kOffer, "one") +
                         encode_frame(FrameType::kAccept, "two") +
                         encode_frame(FrameType::kDone, "three").substr(0, 14)));
    CHECK(must(parser.next())->body == "one");
    CHECK(must(parser.next())->body == "two");
    CHECK_FALSE(must(parser.next()));
    CHECK(parser.in_mid_frame());
}

TEST_CASE("a frame cut at any byte is waited for") {
    const std::string whole = encode_frame(FrameType::kComplete, "{\"pages\":1}");
    for (std::size_t size = 0; size < whole.size(); ++size) {
        FrameParser parser;
        parser.feed(bytes_of(whole).first(size));
        CHECK_FALSE(must(parser.next()));
        parser.feed(bytes_of(whole).subspan(size));
        CHECK(must(parser.next())->body == "{\"pages\":1}");
    }
}

TEST_CASE("a frame may have the largest body and no larger one") {
    CHECK(must(decode_frame_header(header_with(1, kMaxFrameBody))).body_bytes == kMaxFrameBody);
    for (const std::uint32_t size : {static_cast<std::uint32_t>(kMaxFrameBody + 1), UINT32_MAX}) {
        const auto header = header_with(1, size);
        CHECK(message_of(decode_frame_header(header)).find(std::to_string(size)) !=
              std::string::npos);
        FrameParser parser;
        parser.feed(header);
        const auto frame = parser.next();
        REQUIRE_FALSE(frame);
        CHECK(frame.error().kind() == ErrorKind::kProtocol);
    }
}

TEST_CASE("a frame of an unknown type is refused, and one of an earlier version") {
    for (const std::uint16_t type :
         {std::uint16_t{0}, kRetired, std::uint16_t{kLastType + 1}, std::uint16_t{0xFFFF}}) {
        CHECK(message_of(decode_frame_header(header_with(type, 0))).find(std::to_string(type)) !=
              std::string::npos);
    }
}

TEST_CASE("garbage is no frame") {
    for (std::size_t bit = 0; bit < 32; ++bit) {
        auto header = header_with(4, 0);
        header[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        CHECK_FALSE(decode_frame_header(header));
    }
    FrameParser parser;
    const std::string request = "GET / HTTP/1.1\r\n";
    parser.feed(bytes_of(request));
    CHECK_FALSE(parser.next());
}

TEST_CASE("every frame type has a name of its own") {
    CHECK(name_of(FrameType::kOffer) == "OFFER");
    CHECK(name_of(FrameType::kHeartbeat) == "HEARTBEAT");
    CHECK(name_of(FrameType::kRoundDone) == "ROUND_DONE");
    CHECK(name_of(FrameType::kSwitchoverAck) == "SWITCHOVER_ACK");
    CHECK(name_of(FrameType::kSwitchoverStart) == "SWITCHOVER_START");
    CHECK(name_of(FrameType::kLoaded) == "LOADED");
    CHECK(name_of(FrameType::kHandover) == "HANDOVER");
    std::set<std::string_view> names;
    for (std::uint16_t type = 1; type <= kLastType; ++type) {
        if (type != kRetired) names.insert(name_of(static_cast<FrameType>(type)));
    }
    CHECK(names.size() == kLastType - 1);
    CHECK_FALSE(names.contains("?"));
    CHECK(name_of(static_cast<FrameType>(99)) == "?");
}

}  // namespace
}  // namespace migrate::transport
