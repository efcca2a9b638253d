// SPDX-License-Identifier: Apache-2.0
#include "engine/recv/recv_channel.hpp"

#include <thread>

#include "catch.hpp"
#include "engine/send/send_channel.hpp"
#include "memory/sink/null_sink.hpp"
#include "tests/support/noise.hpp"
#include "tests/support/recording_sink.hpp"
#include "tests/support/tcp_pair.hpp"

namespace migrate::engine {
namespace {

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using transport::Compression;
using transport::PacketHeader;
using transport::PacketKind;

constexpr std::uint64_t kRecvPacketBytes = 8 * kPageSize;
constexpr std::uint64_t kRecvRegionPages = 64;

// Half of a page's bytes are noise: it compresses, and no two pages are alike.
std::vector<std::byte> half_noise(std::size_t size) {
    std::vector<std::byte> bytes = noise(size);
    for (std::size_t i = 0; i < size; ++i) {
        if (i % 1024 < 512) bytes[i] = std::byte{'x'};
    }
    return bytes;
}

// A channel that receives on a thread of its own, and the other end of its connection.
struct Receiving {
    explicit Receiving(Compression method = Compression::kNone, bool discards = false,
                       std::uint64_t io_timeout_ms = 60'000) {
        must(sink.prepare(regions));
        memory::PageSink& chosen = discards ? static_cast<memory::PageSink&>(nowhere) : sink;
        placer = must(memory::PagePlacer::create(chosen, regions, 0));
        shared.reset(new RecvShared{transport::PacketLimits{kRecvPacketBytes, method, regions},
                                    *placer, discards, gate, budget});
        transport::TcpPair pair = transport::make_tcp_pair();
        peer.emplace(transport::adopt(std::move(pair.near), std::chrono::seconds(60)));
        channel = must(RecvChannel::create(
            ChannelId{0},
            transport::adopt(std::move(pair.far), std::chrono::milliseconds(io_timeout_ms)),
            shared->limits));
        thread = std::jthread([this] { status = channel->run(*shared, stop.get_token()); });
    }
    ~Receiving() {
        stop.request_stop();
        channel->shutdown();
    }
    Receiving(const Receiving&) = delete;
    Receiving& operator=(const Receiving&) = delete;

    // The other end, as a channel that keeps to the protocol.
    SendChannel& sender() {
        if (!sending) {
            const Compression method = shared->limits.compression;
            sending.emplace(ChannelId{0}, *std::exchange(peer, std::nullopt),
                            method == Compression::kNone
                                ? nullptr
                                : must(transport::Compressor::create(method, 1, kRecvPacketBytes)),
                            pacer);
        }
        return *sending;
    }
    void send(const std::vector<PageRun>& runs, const std::byte* content, std::uint32_t round = 1) {
        transport::PacketBuilder packet(kRecvPacketBytes);
        for (const PageRun& run : runs) {
            REQUIRE(packet.add(RegionId{}, run, content) == run.pages.count);
            if (run.kind == PageKind::kNormal) content += run.pages.size_bytes();
        }
        must(sender().send(packet, round, {}));
    }
    // The open round as the peer ends it.
    void end_round(std::uint32_t round = 1) {
        must(sender().send_sync(round));
        REQUIRE(gate.wait_for_all(stop.get_token()));
    }
    const Status& join() {
        thread.join();
        return status;
    }
    // Says this to the channel in round 1; the error it ends with.
    Error error_after(std::span<const std::byte> bytes) {
        gate.open(1);
        must(peer->send(bytes));
        peer->finish_sending();
        const Status& ended = join();
        REQUIRE_FALSE(ended);
        return ended.error();
    }
    std::span<const std::byte> page(std::uint64_t number, std::uint64_t count = 1) const {
        return sink.memory(RegionId{}).subspan(number * kPageSize, count * kPageSize);
    }

    std::vector<RegionInfo> regions{{"ram", kRecvRegionPages* kPageSize}};
    memory::RecordingSink sink;
    memory::NullSink nowhere;
    std::unique_ptr<memory::PagePlacer> placer;
    RoundGate gate{1};
    CpuBudget budget{0};
    std::unique_ptr<RecvShared> shared;
    std::stop_source stop;
    transport::Pacer pacer{0};
    std::optional<transport::Socket> peer;
    std::optional<SendChannel> sending;
    std::unique_ptr<RecvChannel> channel;
    Status status;
    std::jthread thread;
};

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

// Four normal pages from page 8 on, with `change` made to the header.
template <typename Change>
std::vector<std::byte> packet_with(std::span<const std::byte> content, const Change& change) {
    transport::RunListEncoder encoder;
    encoder.restart(8);
    REQUIRE(encoder.append({{8, 4}, PageKind::kNormal}));
    const auto runs = encoder.finish();
    PacketHeader header{.round = 1,
                        .first_page = 8,
                        .normal_pages = 4,
                        .payload_bytes = static_cast<std::uint32_t>(content.size())};
    change(header);
    const auto bytes = transport::encode_packet_header(header, runs);
    std::vector<std::byte> packet(bytes.begin(), bytes.end());
    packet.insert(packet.end(), runs.begin(), runs.end());
    packet.insert(packet.end(), content.begin(), content.end());
    return packet;
}

TEST_CASE("pages land where they belong, and both ends count the same") {
    Receiving r;
    const auto content = noise(6 * kPageSize);
    r.gate.open(1);
    r.send({{{3, 4}, PageKind::kNormal},
            {{7, 10}, PageKind::kZero},
            {{20, 2}, PageKind::kNormal},
            {{22, 5}, PageKind::kUnpopulated}},
           content.data());
    r.end_round();
    r.gate.close();
    must(r.join());
    CHECK(same(r.page(3, 4), std::span(content).first(4 * kPageSize)));
    CHECK(same(r.page(20, 2), std::span(content).last(2 * kPageSize)));
    CHECK(same(r.page(7, 10), std::vector<std::byte>(10 * kPageSize)));
    CHECK(r.channel->counters().pages.get() == transport::PageCounts{6, 10, 5});
    CHECK(r.channel->counters().packets == 2);
    CHECK(r.channel->counters().payload_bytes == 6 * kPageSize);
    CHECK(r.channel->bytes() == r.sender().bytes());
    CHECK(r.channel->id() == ChannelId{0});
}

TEST_CASE("the sequence goes on from round to round, and a later page replaces an earlier one") {
    Receiving r;
    const auto content = noise(8 * kPageSize);
    r.gate.open(1);
    r.send({{{0, 4}, PageKind::kNormal}, {{4, kRecvRegionPages - 4}, PageKind::kZero}},
           content.data());
    r.end_round();
    must(r.placer->finish_full_round());
    r.gate.open(2);
    r.send({{{0, 2}, PageKind::kZero}, {{2, 1}, PageKind::kNormal}}, content.data() + 4 * kPageSize,
           2);
    r.end_round(2);
    r.gate.close();
    must(r.join());
    CHECK(same(r.page(0, 2), std::vector<std::byte>(2 * kPageSize)));
    CHECK(same(r.page(2), std::span(content).subspan(4 * kPageSize, kPageSize)));
    CHECK(same(r.page(3), std::span(content).subspan(3 * kPageSize, kPageSize)));
    CHECK(r.channel->counters().packets == 4);
}

TEST_CASE("nothing of a round is read before the gate opens it") {
    Receiving r;
    const auto content = noise(kPageSize);
    r.gate.open(1);
    r.end_round();
    const std::uint64_t at_barrier = r.channel->bytes();
    r.send({{{0, 1}, PageKind::kNormal}}, content.data(), 2);
    must(r.sender().send_sync(2));
    r.gate.close();
    must(r.join());
    CHECK(r.channel->bytes() == at_barrier);
    CHECK(r.sink.take_prefaulted().empty());
}

TEST_CASE("a packet out of order is refused before anything is written") {
    const auto content = noise(4 * kPageSize);
    struct Case {
        const char* words;
        std::vector<std::byte> bytes;
    };
    const auto sync = [](PacketHeader header) {
        header.kind = PacketKind::kSync;
        const auto bytes = transport::encode_packet_header(header, {});
        return std::vector<std::byte>(bytes.begin(), bytes.end());
    };
    for (const Case& one :
         {Case{"expected packet 0, got packet 1",
               packet_with(content, [](auto& h) { h.sequence = 1; })},
          Case{"expected packet 0, got packet 4294967295",
               packet_with(content, [](auto& h) { h.sequence = 0xFFFFFFFF; })},
          Case{"expected a packet of round 1, got round 2",
               packet_with(content, [](auto& h) { h.round = 2; })},
          Case{"expected a packet of round 1, got round 0",
               packet_with(content, [](auto& h) { h.round = 0; })},
          Case{"expected packet 0, got packet 9", sync({.round = 1, .sequence = 9})},
          Case{"expected a packet of round 1, got round 3", sync({.round = 3})}}) {
        INFO(one.words);
        Receiving r;
        const Error error = r.error_after(one.bytes);
        CHECK(error.kind() == ErrorKind::kProtocol);
        CHECK_THAT(error.message(),
                   StartsWith("channel 0, packet 0 at byte ") && Contains(one.words));
        CHECK(r.sink.take_prefaulted().empty());
        CHECK(same(r.page(8, 4), std::vector<std::byte>(4 * kPageSize)));
        CHECK(r.channel->counters().pages.get() == transport::PageCounts{});
    }
}

TEST_CASE("a packet that comes again is refused by its number") {
    const auto content = noise(4 * kPageSize);
    auto twice = packet_with(content, [](auto&) {});
    twice.insert(twice.end(), twice.begin(), twice.end());
    Receiving r;
    const Error error = r.error_after(twice);
    CHECK(error.kind() == ErrorKind::kProtocol);
    CHECK_THAT(error.message(), Contains("expected packet 1, got packet 0"));
    CHECK(r.channel->counters().pages.get() == transport::PageCounts{4, 0, 0});
}

TEST_CASE("a channel that closes in mid-packet is lost, whichever part was under way") {
    const auto content = noise(4 * kPageSize);
    const auto whole = packet_with(content, [](auto&) {});
    const std::size_t payload_at = whole.size() - content.size();
    for (const std::size_t bytes :
         {std::size_t{1}, transport::kPacketHeaderSize - 1, transport::kPacketHeaderSize,
          payload_at - 1, payload_at, payload_at + 1, payload_at + kPageSize, whole.size() - 1}) {
        INFO(bytes << " bytes of " << whole.size());
        Receiving r;
        const Error error = r.error_after(std::span(whole).first(bytes));
        CHECK(error.kind() == ErrorKind::kLostConnection);
        CHECK_THAT(error.message(),
                   StartsWith("channel 0, packet ") && Contains("in the middle of a packet"));
        CHECK(r.channel->counters().pages.get() == transport::PageCounts{});
    }
}

TEST_CASE("a channel that closes between packets, its SYNC still missing, is lost") {
    const auto content = noise(4 * kPageSize);
    for (const bool after_a_packet : {false, true}) {
        Receiving r;
        const auto bytes =
            after_a_packet ? packet_with(content, [](auto&) {}) : std::vector<std::byte>();
        const Error error = r.error_after(bytes);
        CHECK(error.kind() == ErrorKind::kLostConnection);
        CHECK_THAT(error.message(), Contains("before the end of the round"));
    }
}

TEST_CASE("a compressed packet reaches destinations that lie apart, and one that lies together") {
    const auto method = GENERATE(Compression::kLz4, Compression::kZstd);
    const bool discards = GENERATE(false, true);
    INFO(transport::name_of(method) << (discards ? ", discarded" : ""));
    Receiving r(method, discards);
    const auto content = half_noise(12 * kPageSize);
    r.gate.open(1);
    r.send({{{1, 3}, PageKind::kNormal},
            {{4, 2}, PageKind::kZero},
            {{6, 1}, PageKind::kNormal},
            {{30, 4}, PageKind::kNormal}},
           content.data());
    r.send({{{40, 4}, PageKind::kNormal}}, content.data() + 8 * kPageSize);
    r.end_round();
    r.gate.close();
    must(r.join());
    CHECK(r.channel->counters().payload_bytes < 12 * kPageSize);
    CHECK(r.channel->counters().payload_bytes == r.sender().counters().payload_bytes);
    CHECK(r.channel->bytes() == r.sender().bytes());
    CHECK(r.channel->counters().pages.get() == transport::PageCounts{12, 2, 0});
    if (discards) return;
    CHECK(same(r.page(1, 3), std::span(content).first(3 * kPageSize)));
    CHECK(same(r.page(6), std::span(content).subspan(3 * kPageSize, kPageSize)));
    CHECK(same(r.page(30, 4), std::span(content).subspan(4 * kPageSize, 4 * kPageSize)));
    CHECK(same(r.page(40, 4), std::span(content).subspan(8 * kPageSize)));
}

TEST_CASE("a discarding channel counts content that it does not keep") {
    Receiving r(Compression::kNone, true);
    const auto content = noise(4 * kPageSize);
    r.gate.open(1);
    r.send({{{0, 4}, PageKind::kNormal}}, content.data());
    r.end_round();
    r.gate.close();
    must(r.join());
    CHECK(r.channel->counters().payload_bytes == 4 * kPageSize);
    CHECK(r.channel->bytes() == r.sender().bytes());
}

TEST_CASE("shutdown wakes a channel that waits for a packet, and for the rest of one") {
    const auto content = noise(4 * kPageSize);
    const auto whole = packet_with(content, [](auto&) {});
    const std::size_t header = GENERATE(std::size_t{0}, transport::kPacketHeaderSize);
    // The bytes behind the header are counted only when the call that waits for more returns.
    const std::size_t bytes = header == 0 ? 0 : header + 2;
    Receiving r;
    r.gate.open(1);
    if (bytes != 0) must(r.peer->send(std::span(whole).first(bytes)));
    while (r.channel->bytes() < header) std::this_thread::yield();
    r.channel->shutdown();
    const Status& status = r.join();
    REQUIRE_FALSE(status);
    CHECK(status.error().kind() == ErrorKind::kLostConnection);
}

TEST_CASE("stop ends an idle channel, and one that waits for its round") {
    SECTION("idle") {
        Receiving r(Compression::kNone, false, 1);
        r.gate.open(1);
        r.send({{{0, 1}, PageKind::kZero}}, nullptr);
        // It is in the round, then.
        while (r.channel->counters().packets == 0) std::this_thread::yield();
        r.stop.request_stop();
        const Status& status = r.join();
        REQUIRE_FALSE(status);
        CHECK(status.error().kind() == ErrorKind::kCancelled);
    }
    SECTION("waiting for its round") {
        Receiving r;
        r.stop.request_stop();
        CHECK(r.join());
    }
}

TEST_CASE("a channel that says nothing is waited for until its round has ended elsewhere") {
    Receiving r(Compression::kNone, false, 1);
    r.gate.open(1);
    r.shared->ended_round = 1;
    const Status& status = r.join();
    REQUIRE_FALSE(status);
    CHECK(status.error().kind() == ErrorKind::kTimeout);
    CHECK_THAT(status.error().message(), Contains("the round ended on the main channel"));
}

}  // namespace
}  // namespace migrate::engine
