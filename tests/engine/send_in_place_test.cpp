// SPDX-License-Identifier: Apache-2.0
// A channel with zero-copy send, whose kernel reads the guest's memory late, while the guest goes
// on writing.
#include "catch.hpp"
#include "engine/send/send_channel.hpp"
#include "tests/support/late_stream.hpp"
#include "tests/support/noise.hpp"
#include "tests/support/packet_reading.hpp"
#include "tests/support/tcp_pair.hpp"

namespace migrate::engine {
namespace {

using transport::Compression;
using transport::PacketBuilder;
using transport::PacketHeader;

constexpr std::uint64_t kLatePacketBytes = 8 * kPageSize;

// A channel with a LateKernel, whose region 0 is sent in place and whose region 1 is not.
struct LateSending {
    explicit LateSending(Compression method = Compression::kNone, SentPages* copies = nullptr)
        : limits{kLatePacketBytes, method, regions} {
        transport::TcpPair pair = transport::make_tcp_pair();
        const int fd = pair.near.get();
        kernel = std::make_shared<transport::LateKernel>(fd);
        transport::Socket near = must(transport::Socket::adopt(
            std::move(pair.near), transport::StallLimits::both(std::chrono::seconds(30)),
            std::make_unique<transport::LateStream>(fd, kernel)));
        std::unique_ptr<transport::Compressor> compressor;
        if (method != Compression::kNone) {
            compressor = must(transport::Compressor::create(method, 1, kLatePacketBytes));
        }
        channel.emplace(ChannelId{0}, std::move(near), std::move(compressor), pacer, copies);
        must(channel->send_in_place({true, false}));
        peer.emplace(transport::adopt(std::move(pair.far)));
    }
    void send(std::span<const std::byte> content, std::uint16_t region = 0) {
        const std::uint64_t pages = content.size() / kPageSize;
        REQUIRE(packet.add(RegionId{region}, {{10, pages}, PageKind::kNormal}, content.data()) ==
                pages);
        must(channel->send(packet, 1, stop.get_token()));
    }
    transport::ReceivedPacket receive() { return receive_packet(*peer, limits); }

    transport::Pacer pacer{0};
    std::vector<RegionInfo> regions{{"ram", 64 * kPageSize}, {"staged", 64 * kPageSize}};
    transport::PacketLimits limits;
    std::stop_source stop;
    PacketBuilder packet{kLatePacketBytes};
    std::shared_ptr<transport::LateKernel> kernel;
    std::optional<SendChannel> channel;
    std::optional<transport::Socket> peer;
};

TEST_CASE("a page that the guest writes while it is sent in place leaves header and runs intact") {
    LateSending s;
    auto memory = noise(8 * kPageSize, 5);
    s.send(memory);
    s.send(memory);
    must(s.channel->send_sync(1));
    CHECK(s.kernel->in_place == 2);
    std::fill(memory.begin(), memory.end(), std::byte{9});
    s.kernel->deliver();
    for (std::uint32_t i = 0; i < 2; ++i) {
        const transport::ReceivedPacket got = s.receive();
        CHECK(got.header.sequence == i);
        CHECK(got.runs == std::vector<PageRun>{{{10, 8}, PageKind::kNormal}});
        // The round after this one sends these pages again: the guest wrote them.
        CHECK((got.payload == memory));
    }
    CHECK(s.receive().header.kind == transport::PacketKind::kSync);
}

TEST_CASE("a compressed packet is never sent in place, whatever the guest writes meanwhile") {
    const auto method = GENERATE(Compression::kLz4, Compression::kZstd);
    LateSending s(method);
    std::vector<std::byte> even(8 * kPageSize, std::byte{'x'});
    s.send(even);
    const auto first = even;
    std::fill(even.begin(), even.end(), std::byte{'y'});
    s.send(even);
    const auto second = even;
    std::fill(even.begin(), even.end(), std::byte{'z'});
    CHECK(s.kernel->in_place == 0);
    for (const auto& content : {first, second}) {
        const transport::ReceivedPacket got = s.receive();
        CHECK(got.header.compression == method);
        std::vector<std::byte> back(content.size());
        must(must(transport::Decompressor::create(method))->decompress(got.payload, back));
        CHECK((back == content));
    }
}

TEST_CASE("a packet that is not tried by the compressor may go in place") {
    LateSending s(Compression::kZstd);
    auto incompressible = noise(8 * kPageSize, 5);
    for (int i = 0; i < 20; ++i) s.send(incompressible);
    CHECK(s.kernel->in_place > 0);
    s.kernel->deliver();
    for (int i = 0; i < 20; ++i) {
        const transport::ReceivedPacket got = s.receive();
        CHECK(got.header.compression == Compression::kNone);
        CHECK((got.payload == incompressible));
    }
}

TEST_CASE("short packets and staged regions are copied") {
    LateSending s;
    auto memory = noise(8 * kPageSize, 5);
    const auto before = memory;
    s.send(std::span(memory).first(kPageSize));
    s.send(memory, 1);
    CHECK(s.kernel->in_place == 0);
    std::fill(memory.begin(), memory.end(), std::byte{9});
    CHECK((s.receive().payload == std::vector(before.begin(), before.begin() + kPageSize)));
    CHECK((s.receive().payload == before));
}

// A tracker that compares with what was sent.
class NotedCopies final : public SentPages {
  public:
    void note_sent(RegionId, const PageRun&) override {}
    bool wants_copies() const override { return true; }
    void note_copy(RegionId, PageRange, std::span<const std::byte> content) override {
        noted.assign(content.begin(), content.end());
    }

    std::vector<std::byte> noted;
};

TEST_CASE("pages whose copy the dirty tracker keeps are sent from that copy") {
    NotedCopies copies;
    LateSending s(Compression::kNone, &copies);
    auto memory = noise(8 * kPageSize, 5);
    const auto before = memory;
    s.send(memory);
    std::fill(memory.begin(), memory.end(), std::byte{9});
    CHECK(s.kernel->in_place == 0);
    CHECK((copies.noted == before));
    CHECK((s.receive().payload == before));
}

}  // namespace
}  // namespace migrate::engine
