// SPDX-License-Identifier: Apache-2.0
#include "engine/recv/recv_channel.hpp"

#include "base/fault_guard.hpp"
#include "transport/parts_cursor.hpp"

namespace migrate::engine {

using transport::Compression;
using transport::PacketHeader;
using transport::PacketKind;

Result<std::unique_ptr<RecvChannel>> RecvChannel::create(ChannelId id, transport::Socket socket,
                                                         const transport::PacketLimits& limits) {
    std::unique_ptr<RecvChannel> channel(new RecvChannel(id, std::move(socket)));
    channel->run_bytes_.resize(transport::kMaxRunBytes);
    if (limits.compression != Compression::kNone) {
        MIGRATE_ASSIGN(channel->decompressor_, transport::Decompressor::create(limits.compression));
        channel->compressed_.resize(limits.packet_bytes);
        channel->decompressed_.resize(limits.packet_bytes);
    }
    if (limits.checksums != transport::PayloadChecksums::kNone) channel->checksum_.emplace();
    return channel;
}

std::string RecvChannel::where() const {
    return fmt::format("channel {}, packet {} at byte {}", index_of(id_), read_.packets,
                       socket_.bytes_received());
}

Status RecvChannel::run(RecvShared& shared, const std::stop_token& stop) {
    const bool checks = checksum_.has_value();
    if (shared.placer.needs_buffer() || (shared.discards && checks)) {
        staged_.resize(shared.limits.packet_bytes);
    }
    while (const auto opened = shared.gate.next_round(index_of(id_), read_.last_round, stop)) {
        Status status = receive_round(shared, *opened - shared.continued, stop);
        if (!status) return std::move(status).error().with_context(where());
        read_.last_round = *opened;
        shared.gate.arrive();
    }
    return {};
}

Status RecvChannel::receive_round(RecvShared& shared, std::uint32_t round,
                                  const std::stop_token& stop) {
    while (true) {
        MIGRATE_ASSIGN(const bool more, receive_packet(shared, round, stop));
        if (!more) return {};
        if (!shared.budget.pace(stop)) return Error(ErrorKind::kCancelled, "cancelled");
    }
}

// No packet within the timeout is no error while the round runs: the sender may scan zero pages for
// a long time, and the main channel shows that it is alive. After ROUND_END the rest of the round
// must arrive within one more StallLimits::busy (io-timeout, at least 10 s).
Status RecvChannel::await_header(const RecvShared& shared, std::uint32_t round,
                                 const std::stop_token& stop) {
    bool waited_past_end = false;
    while (!stop.stop_requested()) {
        MIGRATE_ASSIGN(const transport::Arrival arrival, socket_.receive_first(header_bytes_));
        if (arrival == transport::Arrival::kComplete) return {};
        if (arrival == transport::Arrival::kClosed) {
            return Error(ErrorKind::kLostConnection,
                         "the peer closed the channel before the end of the round");
        }
        if (waited_past_end) {
            return Error(ErrorKind::kTimeout,
                         "the round ended on the main channel, but its last packets did not arrive "
                         "on this channel (io-timeout)");
        }
        waited_past_end =
            shared.ended_round.load(std::memory_order_acquire) >= round + shared.continued;
    }
    return Error(ErrorKind::kCancelled, "cancelled");
}

Status RecvChannel::check_order(const PacketHeader& header, std::uint32_t round) const {
    if (header.sequence != read_.packets) {
        return make_error(ErrorKind::kProtocol, "expected packet {}, got packet {}", read_.packets,
                          header.sequence);
    }
    if (header.round != round) {
        return make_error(ErrorKind::kProtocol, "expected a packet of round {}, got round {}",
                          round, header.round);
    }
    return {};
}

Result<bool> RecvChannel::receive_packet(RecvShared& shared, std::uint32_t round,
                                         const std::stop_token& stop) {
    MIGRATE_TRY(await_header(shared, round, stop));
    MIGRATE_ASSIGN(const PacketHeader header,
                   transport::decode_packet_header(header_bytes_, shared.limits));
    const std::span<std::byte> run_bytes = std::span(run_bytes_).first(header.run_bytes);
    if (!run_bytes.empty()) MIGRATE_TRY(socket_.receive(run_bytes));
    if (header.kind == PacketKind::kDeviceState) {
        MIGRATE_TRY(check_order(header, round));
        read_.in_device = true;
        MIGRATE_TRY(receive_device(shared, header, run_bytes, stop));
        read_.in_device = false;
        return true;
    }
    MIGRATE_TRY(transport::decode_runs(header_bytes_, header, run_bytes, shared.limits, runs_));
    MIGRATE_TRY(check_order(header, round));
    count_packet(header);
    if (header.kind == PacketKind::kSync) return false;
    MIGRATE_TRY(receive_pages(shared, header));
    return true;
}

Status RecvChannel::receive_pages(RecvShared& shared, const PacketHeader& header) {
    const bool by_program =
        header.compression != Compression::kNone || socket_.security().is_encrypted();
    const auto writer = by_program ? memory::WrittenBy::kProgram : memory::WrittenBy::kSystemCall;
    MIGRATE_TRY(shared.placer.accept(header.region, runs_, writer, staged_, to_));
    Status received = receive_payload(shared, header);
    if (!received && received.error().kind() == ErrorKind::kFault) {
        return shared.placer.explain(header.region, runs_, std::move(received).error());
    }
    if (!received) {
        // The pages come on another channel if the session survives the loss of this one.
        shared.placer.withdraw(header.region, runs_, to_);
        return received;
    }
    MIGRATE_TRY(shared.placer.fill(header.region, to_));
    shared.placer.complete(header.region, runs_);
    transport::PageCounts counts;
    for (const PageRun& run : runs_) counts.add(run);
    counters_.pages.add(counts);
    counters_.payload_bytes.fetch_add(header.payload_bytes, std::memory_order_relaxed);
    return {};
}

void RecvChannel::release() {
    staged_ = {};
    compressed_ = {};
    decompressed_ = {};
    run_bytes_ = {};
    decompressor_.reset();
}

Status RecvChannel::receive_device(RecvShared& shared, const PacketHeader& header,
                                   std::span<const std::byte> device_header,
                                   const std::stop_token& stop) {
    MIGRATE_TRY(transport::check_packet_checksum(header_bytes_, device_header));
    MIGRATE_ASSIGN(const transport::DeviceChunkHeader chunk,
                   transport::decode_device_header(device_header, header.payload_bytes));
    count_packet(header);
    const auto read = [&](std::span<std::byte> to) {
        const iovec part{to.data(), to.size()};
        return receive_checked(header, std::span(&part, 1));
    };
    MIGRATE_TRY(shared.devices->receive(chunk, header.payload_bytes, read, stop));
    counters_.device_bytes.fetch_add(header.payload_bytes, std::memory_order_relaxed);
    return {};
}

void RecvChannel::count_packet(const PacketHeader& header) {
    ++read_.packets;
    counters_.count_packet(header.payload_bytes != 0, header.has_checksum);
}

Status RecvChannel::receive_payload(const RecvShared& shared, const PacketHeader& header) {
    if (header.payload_bytes == 0) return {};
    if (header.compression != Compression::kNone) return receive_compressed(shared, header);
    if (!shared.discards) return receive_checked(header, to_.parts);
    if (!header.has_checksum) return socket_.discard(header.payload_bytes);
    const iovec dropped{staged_.data(), header.payload_bytes};
    return receive_checked(header, std::span(&dropped, 1));
}

Status RecvChannel::receive_checked(const PacketHeader& header, std::span<const iovec> parts) {
    transport::PayloadChecksumBytes expected{};
    received_.assign(parts.begin(), parts.end());
    if (header.has_checksum) received_.push_back({expected.data(), expected.size()});
    MIGRATE_TRY(socket_.receive(received_));
    if (!header.has_checksum) return {};
    checksum_->restart();
    // Part by part, since add(parts) also prefetches: these bytes have just been received and are
    // in the cache.
    MIGRATE_TRY(guard_reads("the sink", [&] {
        for (const iovec& part : parts) checksum_->add(transport::bytes_of(part));
    }));
    return transport::compare_checksums(expected, checksum_->finish(header_bytes_));
}

Status RecvChannel::receive_compressed(const RecvShared& shared, const PacketHeader& header) {
    const std::span<std::byte> compressed = std::span(compressed_).first(header.payload_bytes);
    const iovec arrived{compressed.data(), compressed.size()};
    MIGRATE_TRY(receive_checked(header, std::span(&arrived, 1)));
    const std::uint64_t content_bytes = header.normal_pages * kPageSize;
    if (!shared.discards && to_.parts.size() == 1) {
        Status decompressed;
        MIGRATE_TRY(guard_writes("the sink", [&] {
            decompressed = decompressor_->decompress(
                compressed, {static_cast<std::byte*>(to_.parts.front().iov_base), content_bytes});
        }));
        return decompressed;
    }
    const std::span<std::byte> content = std::span(decompressed_).first(content_bytes);
    MIGRATE_TRY(decompressor_->decompress(compressed, content));
    return memory::copy_to_parts(content, to_.parts);
}

}  // namespace migrate::engine
