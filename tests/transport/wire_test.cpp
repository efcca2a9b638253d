// SPDX-License-Identifier: Apache-2.0
#include "transport/wire.hpp"

#include <random>

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::transport {
namespace {

const std::vector<RegionInfo> kRegions{{"ram", 1000 * kPageSize}, {"vga", 16 * kPageSize}};

PacketLimits limits() { return {128 * kPageSize, Compression::kLz4, kRegions}; }

std::vector<std::byte> leb128(std::uint64_t number) {
    std::vector<std::byte> bytes;
    for (; number >= 0x80; number >>= 7) bytes.push_back(static_cast<std::byte>(number | 0x80));
    bytes.push_back(static_cast<std::byte>(number));
    return bytes;
}

enum Code : std::uint64_t { kNormal = 0, kZero = 1, kUnpopulated = 2, kSkip = 3 };

struct Item {
    std::uint64_t count;
    Code code;
};

std::vector<std::byte> run_list(const std::vector<Item>& items) {
    std::vector<std::byte> bytes;
    for (const Item& item : items) {
        const auto one = leb128(item.count << 2 | item.code);
        bytes.insert(bytes.end(), one.begin(), one.end());
    }
    return bytes;
}

PacketHeader header_of(std::uint32_t normal_pages, std::uint64_t first_page = 0) {
    return {.round = 1,
            .sequence = 7,
            .first_page = first_page,
            .normal_pages = normal_pages,
            .payload_bytes = static_cast<std::uint32_t>(normal_pages * kPageSize)};
}

// Through the encoder and both decoders.
Result<std::vector<PageRun>> decode(const PacketHeader& header, std::span<const std::byte> runs) {
    const PacketHeaderBytes bytes = encode_packet_header(header, runs);
    MIGRATE_ASSIGN(const PacketHeader decoded, decode_packet_header(bytes, limits()));
    std::vector<PageRun> out;
    MIGRATE_TRY(decode_runs(bytes, decoded, runs, limits(), out));
    return out;
}

void check_refused(const Result<std::vector<PageRun>>& result, std::string_view part) {
    REQUIRE_FALSE(result);
    CHECK(result.error().kind() == ErrorKind::kProtocol);
    INFO(result.error().message());
    CHECK(result.error().message().find(part) != std::string::npos);
}

SessionId some_session() {
    SessionId session{};
    for (std::size_t i = 0; i < session.size(); ++i) session[i] = static_cast<std::byte>(0xA0 + i);
    return session;
}

TEST_CASE("a hello survives its encoding") {
    const ConnectionHello hello{
        .role = ConnectionRole::kData, .channel = ChannelId{254}, .session = some_session()};
    const ConnectionHello back = must(decode_hello(encode_hello(hello)));
    CHECK(back.version == kProtocolVersion);
    CHECK(back.role == ConnectionRole::kData);
    CHECK(back.channel == ChannelId{254});
    CHECK(back.session == hello.session);
}

TEST_CASE("the hello of a sender that returns has its session and its epoch") {
    const ConnectionHello back = must(decode_hello(encode_hello(
        {.role = ConnectionRole::kResume, .epoch = 0xABCD, .session = some_session()})));
    CHECK(back.role == ConnectionRole::kResume);
    CHECK(back.epoch == 0xABCD);
    CHECK(back.session == some_session());
}

TEST_CASE("a hello of another version shows its version, whatever follows") {
    HelloBytes bytes = encode_hello({.version = kProtocolVersion + 1});
    std::fill(bytes.begin() + 8, bytes.end(), std::byte{0xEE});
    CHECK(must(decode_hello(bytes)).version == kProtocolVersion + 1);
}

TEST_CASE("any flipped bit of a hello is noticed") {
    const HelloBytes good = encode_hello(
        {.role = ConnectionRole::kData, .channel = ChannelId{3}, .session = some_session()});
    for (std::size_t bit = 0; bit < kHelloSize * 8; ++bit) {
        HelloBytes bytes = good;
        bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        const auto hello = decode_hello(bytes);
        const bool in_version = bit / 8 == 4 || bit / 8 == 5;
        INFO("bit " << bit);
        CHECK((in_version ? hello && hello->version != kProtocolVersion : !hello));
    }
}

TEST_CASE("a hello of a role that does not exist is refused") {
    HelloBytes bytes = encode_hello({.role = static_cast<ConnectionRole>(4)});
    CHECK(message_of(decode_hello(bytes)).find("role 4") != std::string::npos);
}

TEST_CASE("a pages packet's header survives its encoding") {
    const auto runs = run_list({{3, kNormal}, {5, kZero}});
    PacketHeader header = header_of(3, 990);
    header.compression = Compression::kLz4;
    header.payload_bytes = 100;
    header.region = RegionId{1};
    header.sequence = 0xFFFFFFFF;
    const PacketHeader back =
        must(decode_packet_header(encode_packet_header(header, runs), limits()));
    CHECK(back.kind == PacketKind::kPages);
    CHECK(back.compression == Compression::kLz4);
    CHECK(back.run_bytes == runs.size());
    CHECK(back.region == RegionId{1});
    CHECK(back.round == 1);
    CHECK(back.sequence == 0xFFFFFFFF);
    CHECK(back.first_page == 990);
    CHECK(back.normal_pages == 3);
    CHECK(back.payload_bytes == 100);
}

TEST_CASE("a SYNC packet survives its encoding and holds nothing") {
    const PacketHeader sync{.kind = PacketKind::kSync, .round = 9, .sequence = 4};
    const PacketHeaderBytes bytes = encode_packet_header(sync, {});
    const PacketHeader back = must(decode_packet_header(bytes, limits()));
    CHECK(back.kind == PacketKind::kSync);
    CHECK(back.round == 9);
    std::vector<PageRun> out{{{1, 1}, PageKind::kZero}};
    must(decode_runs(bytes, back, {}, limits(), out));
    CHECK(out.empty());

    for (PacketHeader bad : {PacketHeader{.kind = PacketKind::kSync, .normal_pages = 1},
                             PacketHeader{.kind = PacketKind::kSync, .payload_bytes = 1}}) {
        CHECK(message_of(decode_packet_header(encode_packet_header(bad, {}), limits())) ==
              "the SYNC packet is not empty");
    }
    CHECK_FALSE(decode_packet_header(encode_packet_header(sync, run_list({{1, kZero}})), limits()));
}

TEST_CASE("every field of a packet header is held to the limits agreed on") {
    const auto runs = run_list({{1, kZero}});
    const auto refused = [&](const PacketHeader& header, std::string_view part) {
        const auto result = decode_packet_header(encode_packet_header(header, runs), limits());
        REQUIRE_FALSE(result);
        CHECK(result.error().kind() == ErrorKind::kProtocol);
        INFO(result.error().message());
        CHECK(result.error().message().find(part) != std::string::npos);
    };
    PacketHeader header = header_of(1);
    header.region = RegionId{2};
    refused(header, "region 2");
    refused(header_of(129), "129 normal pages");
    header = header_of(0);
    header.normal_pages = UINT32_MAX;
    refused(header, "4294967295 normal pages");
    header = header_of(1);
    header.compression = Compression::kZstd;
    refused(header, "compression zstd");
    header = header_of(1);
    header.compression = static_cast<Compression>(3);
    refused(header, "compression 3");
    header = header_of(1);
    header.kind = static_cast<PacketKind>(4);
    refused(header, "unknown kind 4");
    header.kind = static_cast<PacketKind>(0);
    refused(header, "unknown kind 0");
    for (const std::uint32_t payload : {0U, 4095U, 4097U, UINT32_MAX}) {
        header = header_of(1);
        header.payload_bytes = payload;
        refused(header, "the payload has");
    }
    // Compressed means smaller, and something.
    for (const std::uint32_t payload : {0U, 4096U, 5000U}) {
        header = header_of(1);
        header.compression = Compression::kLz4;
        header.payload_bytes = payload;
        refused(header, "the payload has");
    }
    header = header_of(0);
    header.compression = Compression::kLz4;
    refused(header, "the payload has");
}

TEST_CASE("a run list is neither empty nor longer than its limit") {
    check_refused(decode(header_of(0), {}), "the packet's run list has 0 bytes");
    std::vector<std::byte> runs(kMaxRunBytes, static_cast<std::byte>(1U << 2 | kSkip));
    const std::vector<RegionInfo> large{{"ram", (kMaxRunBytes + 1) * kPageSize}};
    const PacketLimits wide{128 * kPageSize, Compression::kNone, large};
    CHECK(decode_packet_header(encode_packet_header(header_of(0), runs), wide));
    runs.push_back(runs.front());
    CHECK(message_of(decode_packet_header(encode_packet_header(header_of(0), runs), wide))
              .find("8193 bytes") != std::string::npos);
}

TEST_CASE("any magic but the packet's is refused") {
    const auto runs = run_list({{1, kZero}});
    PacketHeaderBytes bytes = encode_packet_header(header_of(0), runs);
    for (std::size_t bit = 0; bit < 32; ++bit) {
        PacketHeaderBytes bad = bytes;
        bad[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        CHECK(message_of(decode_packet_header(bad, limits())) ==
              "expected a packet, got other bytes (wrong magic)");
    }
}

TEST_CASE("any flipped bit of a packet is noticed") {
    const auto runs = run_list({{2, kNormal}, {300, kZero}, {4, kSkip}, {1, kUnpopulated}});
    const PacketHeaderBytes good = encode_packet_header(header_of(2, 17), runs);
    const std::size_t size = kPacketHeaderSize + runs.size();
    for (std::size_t bit = 0; bit < size * 8; ++bit) {
        PacketHeaderBytes header = good;
        std::vector<std::byte> list = runs;
        std::byte& hit = bit / 8 < header.size() ? header[bit / 8] : list[bit / 8 - header.size()];
        hit ^= static_cast<std::byte>(1U << (bit % 8));
        const auto decoded = decode_packet_header(header, limits());
        INFO("bit " << bit);
        if (!decoded) continue;
        list.resize(decoded->run_bytes);  // what a reader would have read
        std::vector<PageRun> out;
        CHECK_FALSE(decode_runs(header, *decoded, list, limits(), out));
    }
}

TEST_CASE("runs of every kind are decoded, skips only move on") {
    const auto runs = must(decode(
        header_of(3, 10),
        run_list({{2, kNormal}, {5, kSkip}, {200, kZero}, {7, kUnpopulated}, {1, kNormal}})));
    CHECK(runs == std::vector<PageRun>{{{10, 2}, PageKind::kNormal},
                                       {{17, 200}, PageKind::kZero},
                                       {{217, 7}, PageKind::kUnpopulated},
                                       {{224, 1}, PageKind::kNormal}});
}

TEST_CASE("a run list cut at any byte is refused") {
    const auto runs = run_list({{100, kNormal}, {300, kZero}, {500, kUnpopulated}});
    CHECK(decode(header_of(100), runs));
    // A cut at the end of a run leaves a shorter valid list; only the checksum is wrong.
    const PacketHeaderBytes bytes = encode_packet_header(header_of(100), runs);
    const PacketHeader header = must(decode_packet_header(bytes, limits()));
    for (std::size_t size = 0; size < runs.size(); ++size) {
        std::vector<PageRun> out;
        const Status status =
            decode_runs(bytes, header, std::span(runs).first(size), limits(), out);
        INFO("cut at " << size);
        CHECK_FALSE(status);
    }
    // A cut within a number is found even if the checksum is right.
    check_refused(decode(header_of(0), std::vector<std::byte>{leb128(300 << 2 | kZero).front()}),
                  "cut off");
}

TEST_CASE("a run of no pages is refused") {
    for (const Code code : {kNormal, kZero, kUnpopulated, kSkip}) {
        check_refused(decode(header_of(0), run_list({{1, kZero}, {0, code}})), "a run of 0 pages");
    }
}

TEST_CASE("runs end at the region's last page") {
    CHECK(decode(header_of(0, 999), run_list({{1, kZero}})));
    CHECK(decode(header_of(0), run_list({{1000, kZero}})));
    check_refused(decode(header_of(0), run_list({{1001, kZero}})), "a run of 1001 pages at page 0");
    check_refused(decode(header_of(0, 999), run_list({{2, kUnpopulated}})), "at page 999");
    check_refused(decode(header_of(0, 1000), run_list({{1, kZero}})), "at page 1000");
    check_refused(decode(header_of(0, UINT64_MAX), run_list({{1, kZero}})), "a run of 1 pages");
    check_refused(decode(header_of(0), run_list({{1000, kSkip}, {1, kZero}})), "at page 1000");
    check_refused(decode(header_of(0), run_list({{1001, kSkip}})), "a run of 1001 pages");
    // Counts that would wrap the position around.
    const std::uint64_t most = (std::uint64_t{1} << 62) - 1;
    check_refused(decode(header_of(0, 5), run_list({{most, kSkip}})), "a run of");
    PacketHeader other = header_of(0);
    other.region = RegionId{1};
    check_refused(decode(other, run_list({{17, kZero}})), "region 'vga' has 16 pages");
}

TEST_CASE("numbers beyond 64 bits are refused, at whatever length") {
    std::vector<std::byte> nine(9, std::byte{0xFF});
    for (const unsigned last : {0x02U, 0x7FU, 0x80U, 0xFFU}) {
        auto runs = nine;
        runs.push_back(static_cast<std::byte>(last));
        check_refused(decode(header_of(0), runs), "above 64 bits");
    }
    check_refused(decode(header_of(0), std::vector<std::byte>(100, std::byte{0x80})),
                  "above 64 bits");
    nine.push_back(std::byte{0x01});  // 2^64 − 1: fits, but no region does
    check_refused(decode(header_of(0), nine), "a run of");
}

TEST_CASE("the header's count of normal pages is the run list's") {
    check_refused(decode(header_of(2), run_list({{3, kNormal}})), "the runs have 3 normal pages");
    check_refused(decode(header_of(2), run_list({{1, kNormal}})), "the runs have 1 normal pages");
    check_refused(decode(header_of(1), run_list({{1, kZero}})), "the runs have 0 normal pages");
    check_refused(decode(header_of(1), run_list({{1, kUnpopulated}})),
                  "the runs have 0 normal pages");
    check_refused(decode(header_of(0), run_list({{1, kNormal}})), "the runs have 1 normal pages");
}

TEST_CASE("the encoder merges neighbours of one kind and skips gaps") {
    RunListEncoder encoder;
    encoder.restart(10);
    CHECK(encoder.empty());
    CHECK(encoder.append({{10, 1}, PageKind::kNormal}));
    CHECK(encoder.append({{11, 1}, PageKind::kNormal}));
    CHECK(encoder.append({{12, 500}, PageKind::kZero}));
    CHECK(encoder.append({{512, 8}, PageKind::kZero}));
    CHECK(encoder.append({{600, 8}, PageKind::kZero}));
    CHECK(encoder.position() == 608);
    CHECK(encoder.first_page() == 10);
    const auto bytes = encoder.finish();
    const auto expected = run_list({{2, kNormal}, {508, kZero}, {80, kSkip}, {8, kZero}});
    CHECK(std::equal(bytes.begin(), bytes.end(), expected.begin(), expected.end()));
    encoder.restart(0);
    CHECK(encoder.empty());
}

TEST_CASE("the encoder stops before its list outgrows the limit") {
    RunListEncoder encoder;
    encoder.restart(0);
    std::uint64_t page = 0;
    while (encoder.append({{page, 1}, PageKind::kZero})) page += 1'000'000'000'000;
    CHECK(page != 0);
    const std::uint64_t position = encoder.position();
    CHECK_FALSE(encoder.append({{page, 1}, PageKind::kZero}));
    CHECK(encoder.position() == position);
    CHECK(encoder.finish().size() <= kMaxRunBytes);
    CHECK(encoder.finish().size() > kMaxRunBytes - 60);
}

TEST_CASE("random run lists survive their encoding") {
    std::mt19937_64 random(20240611);
    for (int round = 0; round < 300; ++round) {
        RunListEncoder encoder;
        std::vector<PageRun> runs;
        std::uint64_t page = random() % 20;
        std::uint32_t normal = 0;
        encoder.restart(page);
        const std::uint64_t first = page;
        while (page < 900) {
            const auto kind = static_cast<PageKind>(random() % 3);
            const std::uint64_t count =
                kind == PageKind::kNormal ? 1 + random() % 2 : 1 + random() % 90;
            if (normal + count > 128 || page + count > 1000) break;
            if (kind == PageKind::kNormal) normal += static_cast<std::uint32_t>(count);
            const PageRun run{{page, count}, kind};
            REQUIRE(encoder.append(run));
            if (!runs.empty() && runs.back().kind == kind && runs.back().pages.end() == page) {
                runs.back().pages.count += count;
            } else {
                runs.push_back(run);
            }
            page += count + (random() % 3 == 0 ? random() % 40 : 0);
        }
        if (runs.empty()) continue;
        CHECK(must(decode(header_of(normal, first), encoder.finish())) == runs);
    }
}

}  // namespace
}  // namespace migrate::transport
