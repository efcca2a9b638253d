// SPDX-License-Identifier: Apache-2.0
// Says the input to a receiver as a peer that has valid credentials: through a TLS session into
// what reads the hello, the offer, the frames of the main channel, or the packets of a channel. The
// input's first two bytes choose which of them, and the channel's limits.
#include <xxhash.h>

#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "base/little_endian.hpp"
#include "engine/recv/recv_channel.hpp"
#include "memory/sink/null_sink.hpp"
#include "tests/support/recording_sink.hpp"
#include "tls_connection.hpp"
#include "transport/control_channel.hpp"
#include "transport/control_messages.hpp"
#include "transport/handshake.hpp"
#include "transport/offer.hpp"
#include "transport/payload_checksum.hpp"

namespace {

using namespace migrate;
using namespace migrate::transport;

constexpr std::uint64_t kPacketBytes = 8 * kPageSize;
constexpr std::uint64_t kRegionPages = 64;
constexpr std::size_t kChecksumAt = 36;  // in a packet's header
constexpr std::size_t kPrefixSize = 2;

// The input's first byte chooses one of these.
enum class Part { kHello, kOffer, kFrames, kPackets };

template <typename Bytes>
void append(std::vector<std::byte>& to, const Bytes& bytes) {
    const auto more = std::as_bytes(std::span(bytes));
    to.insert(to.end(), more.begin(), more.end());
}

// Both ends, and the session that connections resume.
struct Sides {
    FuzzKey key;
    std::shared_ptr<TlsEndpoint> sender = key.endpoint();
    std::shared_ptr<TlsEndpoint> receiver = key.endpoint();
    std::shared_ptr<const TlsContext> context = sure(sender->context(TlsRole::kClient, {}));
    TcpPairs pairs;

    Sides() {
        FuzzConnection main(pairs.make(), *receiver);
        const auto handshake = sure(sender->begin_main(main.fd(), context, "127.0.0.1"));
        shake_hands(main, *handshake);
        sender->remember(handshake->take_session());
    }

    // The peer's stream of an authenticated connection.
    static void shake_hands(FuzzConnection& connection, TlsHandshake& handshake) {
        while (sure(handshake.advance()) != TlsHandshake::Step::kDone) connection.step();
    }

    std::unique_ptr<FuzzConnection> connect(std::span<const std::byte> said) {
        auto connection = std::make_unique<FuzzConnection>(pairs.make(), *receiver);
        const auto handshake = sure(sender->begin_data(connection->fd(), context));
        shake_hands(*connection, *handshake);
        const auto stream = handshake->take_stream();
        while (!said.empty()) {
            const iovec part{const_cast<std::byte*>(said.data()), said.size()};
            const auto moved = stream->send(std::span(&part, 1), Stream::Mode::kNow);
            // The receiver has closed, or has no room because it is not reading any more.
            if (!moved || !*moved) break;
            said = said.subspan(**moved);
        }
        stream->finish_sending();
        return connection;
    }
};

// Puts the checksums of a packet right, which random bytes never have. Returns its size; nothing if
// it is no whole packet.
std::optional<std::size_t> put_right(std::span<std::byte> packet, const PacketLimits& limits) {
    if (packet.size() < kPacketHeaderSize) return std::nullopt;
    const auto header = decode_packet_header(packet.first<kPacketHeaderSize>(), limits);
    if (!header || header->run_bytes > packet.size() - kPacketHeaderSize) return std::nullopt;
    const auto runs = packet.subspan(kPacketHeaderSize, header->run_bytes);
    std::uint32_t sum = XXH32(packet.data(), kChecksumAt, 0);
    if (!runs.empty()) sum = XXH32(runs.data(), runs.size(), sum);
    store_le(&packet[kChecksumAt], sum);
    const auto rest = packet.subspan(kPacketHeaderSize + header->run_bytes);
    if (header->payload_bytes > rest.size()) return std::nullopt;
    std::size_t size = packet.size() - rest.size() + header->payload_bytes;
    if (!header->has_checksum) return size;
    PacketHeaderBytes bytes{};
    std::memcpy(bytes.data(), packet.data(), bytes.size());
    PayloadChecksum checksum;
    checksum.restart();
    checksum.add(rest.first(header->payload_bytes));
    const PayloadChecksumBytes right = checksum.finish(bytes);
    if (right.size() > rest.size() - header->payload_bytes) return std::nullopt;
    std::memcpy(&packet[size], right.data(), right.size());
    return size + right.size();
}

std::vector<std::byte> packets_of(std::span<const std::byte> input, const PacketLimits& limits) {
    std::vector<std::byte> packets(input.begin(), input.end());
    std::span<std::byte> rest(packets);
    while (const auto size = put_right(rest, limits)) rest = rest.subspan(*size);
    return packets;
}

// The bytes of a connection up to what the input stands for, and the input.
std::vector<std::byte> bytes_of(Part part, std::span<const std::byte> input,
                                const PacketLimits& limits) {
    std::vector<std::byte> said;
    switch (part) {
        case Part::kHello:
            append(said, input);
            break;
        case Part::kOffer:
            append(said, encode_hello({.role = ConnectionRole::kMain}));
            append(said, encode_frame(FrameType::kOffer,
                                      {reinterpret_cast<const char*>(input.data()), input.size()}));
            break;
        case Part::kFrames:
            append(said, encode_hello({.role = ConnectionRole::kMain}));
            append(said, encode_frame(FrameType::kOffer, "{}"));
            append(said, input);
            break;
        case Part::kPackets:
            append(said, encode_hello({.role = ConnectionRole::kData}));
            append(said, packets_of(input, limits));
            break;
    }
    return said;
}

// A channel in its first and only round.
void receive_packets(Socket socket, const PacketLimits& limits, bool discards) {
    memory::RecordingSink keeping;
    memory::NullSink dropping;
    memory::PageSink& sink = discards ? static_cast<memory::PageSink&>(dropping) : keeping;
    require(static_cast<bool>(sink.prepare(limits.regions)));
    const auto placer = sure(memory::PagePlacer::create(sink, limits.regions, 0));
    engine::RoundGate gate(1);
    CpuBudget budget(0);
    engine::DeviceReceiver devices({}, kMiB, kFuzzLimit);
    engine::RecvShared shared{
        .limits = limits, .placer = *placer, .discards = discards, .gate = gate, .budget = budget};
    if (limits.device_state) shared.devices = &devices;
    const auto channel = sure(engine::RecvChannel::create(ChannelId{0}, std::move(socket), limits));
    gate.open(1);
    gate.close();
    if (!channel->run(shared, {})) return;
    // Nothing but whole packets up to the SYNC counts.
    require(channel->counters().pages.get().total() <= kRegionPages);
}

void receive_frames(Socket socket) {
    const auto channel = sure(ControlChannel::create(std::move(socket)));
    while (true) {
        const auto frame = channel->receive(kFuzzLimit);
        if (!frame || !*frame) return;
        static_cast<void>(decode_round_mark((*frame)->body));
        static_cast<void>(decode_completion((*frame)->body));
        static_cast<void>(decode_done((*frame)->body));
        require(!decode_failure((*frame)->body).reason.empty());
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Sides sides;
    if (size < kPrefixSize || size > kMaxFrameBody) return 0;
    const auto input = std::as_bytes(std::span(data, size)).subspan(kPrefixSize);
    const std::vector<RegionInfo> regions{{"ram", kRegionPages * kPageSize}};
    const unsigned choice = data[1];
    const PacketLimits limits{
        .packet_bytes = kPacketBytes,
        .compression = static_cast<Compression>(choice % 3),
        .regions = regions,
        .device_state = (choice & 0x10U) != 0,
        .checksums = (choice & 0x20U) != 0 ? PayloadChecksums::kSome : PayloadChecksums::kNone};
    const auto peer = sides.connect(bytes_of(static_cast<Part>(data[0] % 4), input, limits));
    std::optional<NewConnection> connection = peer->outcome();
    if (!connection) return 0;
    require(connection->socket.security().is_encrypted());
    if (connection->hello.version != kProtocolVersion) return 0;
    if (connection->hello.role == ConnectionRole::kMain) {
        static_cast<void>(decode_offer(connection->offer));
        receive_frames(std::move(connection->socket));
    } else {
        receive_packets(std::move(connection->socket), limits, (choice & 0x40U) != 0);
    }
    return 0;
}
