#include "engine/send/send_channel.hpp"

#include <array>
#include <cstring>

#include "memory/fault_guard.hpp"

namespace migrate::engine {

using transport::Compression;

SendChannel::SendChannel(ChannelId id, transport::Socket socket,
                         std::unique_ptr<transport::Compressor> compressor, transport::Pacer& pacer,
                         SentPages* copies)
    : id_(id),
      socket_(std::move(socket)),
      compressor_(std::move(compressor)),
      pacer_(pacer),
      copies_(copies) {}

std::string SendChannel::where(const transport::PacketBuilder& packet) const {
    return fmt::format("channel {}, packet {} at page {}", index_of(id_), sequence_,
                       packet.first_page());
}

Result<std::span<const std::byte>> SendChannel::copy_payload(
    const transport::PacketBuilder& packet) {
    std::size_t size = 0;
    for (const iovec& part : packet.payload()) size += part.iov_len;
    copy_.resize(size);
    MIGRATE_TRY(memory::guard_reads("the source", [&] {
        std::byte* to = copy_.data();
        for (const iovec& part : packet.payload()) {
            std::memcpy(to, part.iov_base, part.iov_len);
            to += part.iov_len;
        }
    }));
    const std::byte* at = copy_.data();
    for (const iovec& part : packet.payload()) {
        copies_->note_copy(packet.region(), static_cast<const std::byte*>(part.iov_base),
                           {at, part.iov_len});
        at += part.iov_len;
    }
    return std::span<const std::byte>(copy_);
}

// Fills parts_ from index 2 on with the content of the packet's normal pages, as sent on the wire.
Result<Compression> SendChannel::prepare_payload(const transport::PacketBuilder& packet) {
    parts_.resize(2);
    iovec copied{};
    std::span<const iovec> payload = packet.payload();
    if (copies_ != nullptr && !payload.empty()) {
        MIGRATE_ASSIGN(const std::span<const std::byte> copy, copy_payload(packet));
        copied = {const_cast<std::byte*>(copy.data()), copy.size()};
        payload = std::span(&copied, 1);
    }
    if (compressor_ && !payload.empty() && compressor_->worth_trying()) {
        std::span<const std::byte> whole;
        MIGRATE_TRY(
            memory::guard_reads("the source", [&] { whole = compressor_->gather(payload); }));
        MIGRATE_ASSIGN(const std::span<const std::byte> compressed, compressor_->compress());
        // If compression did not pay, the copy is sent instead of the source: it is in the cache.
        const std::span<const std::byte> chosen = compressed.empty() ? whole : compressed;
        parts_.push_back({const_cast<std::byte*>(chosen.data()), chosen.size()});
        return compressed.empty() ? Compression::kNone : compressor_->method();
    }
    parts_.insert(parts_.end(), payload.begin(), payload.end());
    return Compression::kNone;
}

Status SendChannel::send(transport::PacketBuilder& packet, std::uint32_t round,
                         const std::stop_token& stop) {
    Result<Compression> compression = prepare_payload(packet);
    if (!compression) return std::move(compression).error().with_context(where(packet));
    std::uint64_t payload_bytes = 0;
    for (std::size_t i = 2; i < parts_.size(); ++i) payload_bytes += parts_[i].iov_len;

    const std::span<const std::byte> runs = packet.finish_runs();
    transport::PacketHeaderBytes header = transport::encode_packet_header(
        {.kind = transport::PacketKind::kPages,
         .compression = *compression,
         .region = packet.region(),
         .round = round,
         .sequence = sequence_,
         .first_page = packet.first_page(),
         .normal_pages = static_cast<std::uint32_t>(packet.counts().normal),
         .payload_bytes = static_cast<std::uint32_t>(payload_bytes)},
        runs);
    parts_[0] = {header.data(), header.size()};
    parts_[1] = {const_cast<std::byte*>(runs.data()), runs.size()};
    if (!pacer_.acquire(header.size() + runs.size() + payload_bytes, stop)) {
        return Error(ErrorKind::kCancelled, "cancelled");
    }
    Status sent = socket_.send(parts_);
    if (!sent) return std::move(sent).error().with_context(where(packet));
    count_packet();
    counters_.payload_bytes.fetch_add(payload_bytes, std::memory_order_relaxed);
    packet.clear();
    return {};
}

Status SendChannel::send_device(std::span<const std::byte> header, std::span<const std::byte> chunk,
                                std::uint32_t round, const std::stop_token& stop) {
    transport::PacketHeaderBytes packet =
        transport::encode_packet_header({.kind = transport::PacketKind::kDeviceState,
                                         .round = round,
                                         .sequence = sequence_,
                                         .payload_bytes = static_cast<std::uint32_t>(chunk.size())},
                                        header);
    if (!pacer_.acquire(packet.size() + header.size() + chunk.size(), stop)) {
        return Error(ErrorKind::kCancelled, "cancelled");
    }
    std::array<iovec, 3> parts{
        iovec{packet.data(), packet.size()},
        iovec{const_cast<std::byte*>(header.data()), header.size()},
        iovec{const_cast<std::byte*>(chunk.data()), chunk.size()},
    };
    Status sent = socket_.send(parts);
    if (!sent) {
        return std::move(sent).error().with_context(
            fmt::format("channel {}, packet {}", index_of(id_), sequence_));
    }
    count_packet();
    counters_.device_bytes.fetch_add(chunk.size(), std::memory_order_relaxed);
    return {};
}

Status SendChannel::send_sync(std::uint32_t round) {
    const transport::PacketHeaderBytes header = transport::encode_packet_header(
        {.kind = transport::PacketKind::kSync, .round = round, .sequence = sequence_}, {});
    Status sent = socket_.send(header);
    if (!sent)
        return std::move(sent).error().with_context(fmt::format("channel {}, SYNC", index_of(id_)));
    count_packet();
    return {};
}

void SendChannel::count_packet() {
    ++sequence_;
    counters_.packets.fetch_add(1, std::memory_order_relaxed);
}

Status SendChannel::send_hello(const transport::SessionId& session) {
    Status sent = socket_.send(transport::encode_hello(
        {.role = transport::ConnectionRole::kData, .channel = id_, .session = session}));
    if (!sent)
        return std::move(sent).error().with_context(
            fmt::format("channel {}, hello", index_of(id_)));
    return {};
}

}  // namespace migrate::engine
