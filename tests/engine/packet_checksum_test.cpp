// SPDX-License-Identifier: Apache-2.0
// Channels whose packets have checksums: what they are of, and what damage does.
#include <atomic>
#include <thread>

#include "catch.hpp"
#include "engine/recv/recv_channel.hpp"
#include "engine/send/send_channel.hpp"
#include "memory/sink/null_sink.hpp"
#include "tests/support/noise.hpp"
#include "tests/support/packet_reading.hpp"
#include "tests/support/recording_sink.hpp"
#include "tests/support/tcp_pair.hpp"

namespace migrate::engine {
namespace {

using Catch::Matchers::Contains;
using transport::Compression;
using transport::PayloadChecksums;

constexpr std::uint64_t kCheckedPacketBytes = 16 * kPageSize;

// A sending channel, and what a receiver of its packets has to know.
struct CheckedSending {
    explicit CheckedSending(bool changing, Compression method = Compression::kNone, bool all = true)
        : limits{kCheckedPacketBytes, method, regions, true,
                 all ? PayloadChecksums::kAll : PayloadChecksums::kSome} {
        transport::TcpPair pair = transport::make_tcp_pair();
        std::unique_ptr<transport::Compressor> compressor;
        if (method != Compression::kNone) {
            compressor = must(transport::Compressor::create(method, 1, kCheckedPacketBytes));
        }
        channel.emplace(ChannelId{0}, transport::adopt(std::move(pair.near)), std::move(compressor),
                        pacer);
        channel->add_checksums({changing}, all);
        peer.emplace(transport::adopt(std::move(pair.far)));
    }
    void send(std::span<const std::byte> content) {
        const std::uint64_t pages = content.size() / kPageSize;
        REQUIRE(packet.add(RegionId{}, {{8, pages}, PageKind::kNormal}, content.data()) == pages);
        must(channel->send(packet, 1, stop.get_token()));
    }

    transport::Pacer pacer{0};
    std::vector<RegionInfo> regions{{"ram", 64 * kPageSize}};
    transport::PacketLimits limits;
    std::stop_source stop;
    transport::PacketBuilder packet{kCheckedPacketBytes};
    std::optional<SendChannel> channel;
    std::optional<transport::Socket> peer;
};

TEST_CASE("the checksum of memory that a guest writes meanwhile is that of the bytes sent") {
    CheckedSending s(true);
    std::vector<std::byte> memory(kCheckedPacketBytes);
    std::atomic<bool> ended{false};
    std::jthread guest([&] {
        // The guest's memory, as the kernel and the checksum see it.
        auto* words = reinterpret_cast<std::uint64_t*>(memory.data());
        for (std::uint64_t turn = 1; !ended; ++turn) {
            for (std::size_t i = 0; i < memory.size() / sizeof *words; i += 8) {
                std::atomic_ref(words[i]).store(turn, std::memory_order_relaxed);
            }
        }
    });
    std::string wrong;
    for (int i = 0; i < 300 && wrong.empty(); ++i) {
        s.send(memory);
        transport::ReceivedPacket got = receive_packet(*s.peer, s.limits);
        if (!got.header.has_checksum) wrong = "no checksum";
        if (!got.checksum_is_right) wrong = "checksum of other bytes than were sent";
    }
    ended = true;
    guest.join();
    CHECK(wrong.empty());
    CHECK(s.channel->counters().with_checksum == 300);
}

TEST_CASE("packets of every form have a right checksum") {
    const auto method = GENERATE(Compression::kNone, Compression::kLz4, Compression::kZstd);
    const bool changing = GENERATE(false, true);
    CheckedSending s(changing, method);
    const auto content = noise(kCheckedPacketBytes);
    const std::vector<std::byte> even(kCheckedPacketBytes, std::byte{'x'});
    for (const auto* one : {&content, &even, &content, &even}) {
        s.send(*one);
        const transport::ReceivedPacket got = receive_packet(*s.peer, s.limits);
        CHECK(got.header.has_checksum);
        CHECK(got.checksum_is_right);
    }
    const auto header = noise(30);
    must(s.channel->send_device(header, content, 1, {}));
    must(s.channel->send_sync(1));
    CHECK(s.channel->counters().with_checksum == 5);
    CHECK(s.channel->counters().without_checksum == 0);
}

TEST_CASE("packets of a guest have checksums again once zero-copy send copies") {
    CheckedSending s(true, Compression::kNone, false);
    must(s.channel->send_in_place({true}));
    const auto content = noise(kCheckedPacketBytes);
    int without = 0;
    // Loopback copies, and says so once the peer has received a packet.
    for (; s.channel->zero_copy_fallback().empty() && without < 1000; ++without) {
        s.send(content);
        CHECK_FALSE(receive_packet(*s.peer, s.limits).header.has_checksum);
    }
    REQUIRE_FALSE(s.channel->zero_copy_fallback().empty());
    for (int i = 0; i < 3; ++i) {
        s.send(content);
        const transport::ReceivedPacket got = receive_packet(*s.peer, s.limits);
        CHECK(got.header.has_checksum);
        CHECK(got.checksum_is_right);
        CHECK(got.payload == content);
    }
    CHECK(s.channel->counters().without_checksum == static_cast<std::uint64_t>(without));
    CHECK(s.channel->counters().with_checksum == 3);
}

// A receiving channel, which gets bytes as a sending one sent them, or damaged.
struct CheckedReceiving {
    CheckedReceiving(PayloadChecksums checksums, Compression method, bool discards) {
        must(sink.prepare(regions));
        memory::PageSink& chosen = discards ? static_cast<memory::PageSink&>(nowhere) : sink;
        placer = must(memory::PagePlacer::create(chosen, regions, 0));
        shared.reset(new RecvShared{
            transport::PacketLimits{kCheckedPacketBytes, method, regions, false, checksums},
            *placer, discards, gate, budget});
        transport::TcpPair pair = transport::make_tcp_pair();
        peer.emplace(transport::adopt(std::move(pair.near)));
        channel = must(RecvChannel::create(ChannelId{0}, transport::adopt(std::move(pair.far)),
                                           shared->limits));
        thread = std::jthread([this] { status = channel->run(*shared, stop.get_token()); });
    }
    ~CheckedReceiving() {
        stop.request_stop();
        channel->shutdown();
    }
    CheckedReceiving(const CheckedReceiving&) = delete;
    CheckedReceiving& operator=(const CheckedReceiving&) = delete;

    // The end of the channel after a round of these bytes.
    const Status& end_after(std::span<const std::byte> bytes) {
        gate.open(1);
        must(peer->send(bytes));
        peer->finish_sending();
        gate.close();
        thread.join();
        return status;
    }

    std::vector<RegionInfo> regions{{"ram", 64 * kPageSize}};
    memory::RecordingSink sink;
    memory::NullSink nowhere;
    std::unique_ptr<memory::PagePlacer> placer;
    RoundGate gate{1};
    CpuBudget budget{0};
    std::unique_ptr<RecvShared> shared;
    std::stop_source stop;
    std::optional<transport::Socket> peer;
    std::unique_ptr<RecvChannel> channel;
    Status status;
    std::jthread thread;
};

// A round of one packet, as it is on the wire.
std::vector<std::byte> round_of(std::span<const std::byte> content, Compression method) {
    CheckedSending s(false, method);
    s.send(content);
    must(s.channel->send_sync(1));
    std::vector<std::byte> bytes(s.channel->bytes());
    must(s.peer->receive(bytes));
    return bytes;
}

TEST_CASE("a packet with a changed bit ends the channel before its pages count") {
    const auto method = GENERATE(Compression::kNone, Compression::kZstd);
    const bool discards = GENERATE(false, true);
    std::vector<std::byte> content = noise(4 * kPageSize);
    for (std::size_t i = 0; i < content.size(); i += 2) content[i] = std::byte{'x'};
    const auto right = round_of(content, method);
    {
        CheckedReceiving r(PayloadChecksums::kAll, method, discards);
        must(r.end_after(right));
        CHECK(r.channel->counters().pages.get().normal == 4);
        CHECK(r.channel->counters().with_checksum == 1);
    }
    const std::size_t payload = transport::kPacketHeaderSize + 4;
    const std::size_t end = right.size() - transport::kPacketHeaderSize;  // of the checksum
    for (const std::size_t at : {payload, payload + 1000, end - 9, end - 8, end - 1}) {
        INFO("byte " << at << " of " << right.size());
        auto damaged = right;
        damaged[at] ^= std::byte{4};
        CheckedReceiving r(PayloadChecksums::kAll, method, discards);
        const Status& ended = r.end_after(damaged);
        REQUIRE_FALSE(ended);
        CHECK(ended.error().kind() == ErrorKind::kProtocol);
        CHECK_THAT(ended.error().message(),
                   Contains("channel 0, packet 1") && Contains("damaged on the way"));
        CHECK(r.channel->counters().pages.get() == transport::PageCounts{});
    }
}

TEST_CASE(
    "a packet without a checksum passes where some may have none, and not where all have one") {
    const auto content = noise(4 * kPageSize);
    transport::TcpPair pair = transport::make_tcp_pair();
    transport::Pacer pacer{0};
    SendChannel plain(ChannelId{0}, transport::adopt(std::move(pair.near)), nullptr, pacer);
    transport::Socket far = transport::adopt(std::move(pair.far));
    transport::PacketBuilder packet(kCheckedPacketBytes);
    REQUIRE(packet.add(RegionId{}, {{0, 4}, PageKind::kNormal}, content.data()) == 4);
    must(plain.send(packet, 1, {}));
    must(plain.send_sync(1));
    std::vector<std::byte> bytes(plain.bytes());
    must(far.receive(bytes));
    CheckedReceiving some(PayloadChecksums::kSome, Compression::kNone, false);
    must(some.end_after(bytes));
    CHECK(some.channel->counters().without_checksum == 1);
    CheckedReceiving all(PayloadChecksums::kAll, Compression::kNone, false);
    CHECK_THAT(all.end_after(bytes).error().message(), Contains("no checksum"));
}

}  // namespace
}  // namespace migrate::engine
