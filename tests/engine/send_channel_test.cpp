// SPDX-License-Identifier: Apache-2.0
#include "engine/send/send_channel.hpp"

#include <sys/mman.h>

#include <thread>

#include "catch.hpp"
#include "tests/support/noise.hpp"
#include "tests/support/packet_reading.hpp"
#include "tests/support/tcp_pair.hpp"

namespace migrate::engine {
namespace {

using transport::Compression;
using transport::PacketBuilder;
using transport::PacketHeader;
using transport::PacketKind;

constexpr std::uint64_t kSendPacketBytes = 8 * kPageSize;
constexpr std::uint64_t kSendRegionPages = 4096;

// A channel, and the other end of its connection in the test's hands.
struct Sending {
    explicit Sending(Compression method = Compression::kNone, std::uint64_t bandwidth = 0)
        : pacer(bandwidth), limits{kSendPacketBytes, method, regions} {
        auto [near, far] = transport::make_socket_pair();
        std::unique_ptr<transport::Compressor> compressor;
        if (method != Compression::kNone) {
            compressor = must(transport::Compressor::create(method, 1, kSendPacketBytes));
        }
        channel.emplace(ChannelId{4}, std::move(near), std::move(compressor), pacer);
        peer.emplace(std::move(far));
    }
    Status send(std::uint32_t round = 1) { return channel->send(packet, round, stop.get_token()); }
    transport::ReceivedPacket receive() { return receive_packet(*peer, limits); }
    // A packet of four normal pages with this content, which is read when it is sent.
    void fill(std::span<const std::byte> content) {
        REQUIRE(packet.add(RegionId{}, {{10, 4}, PageKind::kNormal}, content.data()) == 4);
    }

    transport::Pacer pacer;
    std::vector<RegionInfo> regions{{"ram", kSendRegionPages* kPageSize}};
    transport::PacketLimits limits;
    std::stop_source stop;
    PacketBuilder packet{kSendPacketBytes};
    std::optional<SendChannel> channel;
    std::optional<transport::Socket> peer;
};

TEST_CASE("packets go out in sequence, and every byte and page of them is counted") {
    Sending s;
    const auto content = noise(4 * kPageSize);
    for (std::uint32_t i = 0; i < 3; ++i) {
        const PageRun zeros{{14, 1000}, PageKind::kZero};
        const PageRun untouched{{1014, 500}, PageKind::kUnpopulated};
        s.fill(content);
        REQUIRE(s.packet.add(RegionId{}, zeros, nullptr) == 1000);
        REQUIRE(s.packet.add(RegionId{}, untouched, nullptr) == 500);
        must(s.send(7));
        CHECK(s.packet.empty());
        const transport::ReceivedPacket got = s.receive();
        CHECK(got.header.kind == PacketKind::kPages);
        CHECK(got.header.sequence == i);
        CHECK(got.header.round == 7);
        CHECK(got.runs == std::vector<PageRun>{{{10, 4}, PageKind::kNormal}, zeros, untouched});
        CHECK((got.payload == content));
    }
    CHECK(s.channel->counters().packets == 3);
    CHECK(s.channel->counters().payload_bytes == 12 * kPageSize);
    CHECK(s.channel->bytes() == s.peer->bytes_received());
    CHECK(s.channel->id() == ChannelId{4});
}

TEST_CASE("a SYNC has its round and the next number, and is counted as a packet without pages") {
    Sending s;
    const auto content = noise(4 * kPageSize);
    s.fill(content);
    must(s.send());
    must(s.channel->send_sync(1));
    must(s.channel->send_sync(2));
    s.receive();
    for (std::uint32_t i = 1; i <= 2; ++i) {
        const transport::ReceivedPacket sync = s.receive();
        CHECK(sync.header.kind == PacketKind::kSync);
        CHECK(sync.header.sequence == i);
        CHECK(sync.header.round == i);
        CHECK(sync.runs.empty());
    }
    CHECK(s.channel->counters().packets == 3);
    CHECK(s.channel->bytes() == s.peer->bytes_received());
}

TEST_CASE("a hello says which channel of which session it is, and is no packet") {
    Sending s;
    transport::SessionId session{};
    session.fill(std::byte{0x5A});
    must(s.channel->send_hello(session));
    transport::HelloBytes bytes{};
    must(s.peer->receive(bytes));
    const transport::ConnectionHello hello = must(transport::decode_hello(bytes));
    CHECK(hello.role == transport::ConnectionRole::kData);
    CHECK(hello.channel == ChannelId{4});
    CHECK(hello.session == session);
    CHECK(s.channel->bytes() == transport::kHelloSize);
    CHECK(s.channel->counters().packets == 0);
}

TEST_CASE("a payload that shrinks is sent and counted compressed, any other is sent as it is") {
    const auto method = GENERATE(Compression::kLz4, Compression::kZstd);
    INFO(transport::name_of(method));
    Sending s(method);
    const std::vector<std::byte> even(4 * kPageSize, std::byte{'x'});
    s.fill(even);
    must(s.send());
    const transport::ReceivedPacket small = s.receive();
    CHECK(small.header.compression == method);
    CHECK(small.payload.size() < even.size() / 8);
    CHECK(s.channel->counters().payload_bytes == small.payload.size());
    std::vector<std::byte> back(even.size());
    must(must(transport::Decompressor::create(method))->decompress(small.payload, back));
    CHECK((back == even));

    const auto content = noise(4 * kPageSize);
    s.fill(content);
    must(s.send());
    const transport::ReceivedPacket plain = s.receive();
    CHECK(plain.header.compression == Compression::kNone);
    CHECK((plain.payload == content));
    CHECK(s.channel->counters().payload_bytes == small.payload.size() + content.size());
    CHECK(s.channel->bytes() == s.peer->bytes_received());
}

TEST_CASE("a packet without content goes out on a compressing channel") {
    Sending s(Compression::kZstd);
    REQUIRE(s.packet.add(RegionId{}, {{0, kSendRegionPages}, PageKind::kZero}, nullptr) ==
            kSendRegionPages);
    must(s.send());
    CHECK(s.receive().header.compression == Compression::kNone);
    CHECK(s.channel->counters().payload_bytes == 0);
}

TEST_CASE("shutdown wakes a blocked send, which says how far it was") {
    Sending s;
    const auto content = noise(4 * kPageSize);
    Status status;
    std::jthread sender([&] {
        while (status) {
            s.packet.clear();
            s.packet.add(RegionId{}, {{10, 4}, PageKind::kNormal}, content.data());
            status = s.send();
        }
    });
    // Nobody reads: it fills the connection's buffers and then blocks.
    while (s.channel->bytes() == 0) std::this_thread::yield();
    s.channel->shutdown();
    sender.join();
    CHECK(status.error().kind() == ErrorKind::kLostConnection);
    CHECK_THAT(status.error().message(),
               Catch::Matchers::StartsWith(fmt::format("channel 4, packet {} at page 10: ",
                                                       s.channel->counters().packets.load())));
}

TEST_CASE("stop wakes a send that waits for bandwidth, and nothing of its packet went out") {
    Sending s(Compression::kNone, 1);
    const auto content = noise(4 * kPageSize);
    s.fill(content);
    must(s.send());
    const std::uint64_t before = s.channel->bytes();
    s.fill(content);
    Status status;
    std::jthread sender([&] { status = s.send(); });
    s.stop.request_stop();
    sender.join();
    REQUIRE_FALSE(status);
    CHECK(status.error().kind() == ErrorKind::kCancelled);
    CHECK(s.channel->bytes() == before);
    CHECK(s.channel->counters().packets == 1);
}

TEST_CASE("a failed send counts no page, and says where it was") {
    Sending s;
    s.channel->shutdown();
    const auto content = noise(4 * kPageSize);
    s.fill(content);
    const Status sent = s.send();
    CHECK_THAT(message_of(sent), Catch::Matchers::StartsWith("channel 4, packet 0 at page 10: "));
    CHECK_THAT(message_of(s.channel->send_sync(1)),
               Catch::Matchers::StartsWith("channel 4, SYNC: "));
    CHECK_THAT(message_of(s.channel->send_hello({})),
               Catch::Matchers::StartsWith("channel 4, hello: "));
    CHECK(s.channel->counters().packets == 0);
}

TEST_CASE("guest memory that cannot be read is the sender's own error and no lost connection") {
    Sending s;
    const Mapping unreadable = must(Mapping::create({.size = 4 * kPageSize,
                                                     .protection = PROT_NONE,
                                                     .flags = MAP_PRIVATE | MAP_ANONYMOUS,
                                                     .what = "unreadable memory"}));
    s.fill(unreadable.bytes());
    const Status status = s.send();
    REQUIRE_FALSE(status);
    CHECK(status.error().kind() == ErrorKind::kFailed);
    CHECK_THAT(message_of(status), Catch::Matchers::Contains("guest memory"));
}

}  // namespace
}  // namespace migrate::engine
