// SPDX-License-Identifier: Apache-2.0
#include "engine/send/send_channel.hpp"

#include <array>

#include "engine/devices/device_sender.hpp"
#include "transport/parts_cursor.hpp"

namespace migrate::engine {

using transport::Compression;
using transport::PacketBuilder;
using transport::part_of;

namespace {

// A legacy packet is passed on once it has this many pages: they are counted when it is sent.
constexpr std::uint64_t kLegacyPagesPerPacket = kGiB / kPageSize;

Error cancelled() { return Error(ErrorKind::kCancelled, "cancelled"); }

// Packs runs into packets. Invariant: a full packet is passed on before more pages are added.
class PackedRuns : public RunSink {
  public:
    PackedRuns(SentPages* sent, const std::stop_token& stop) : sent_(sent), stop_(stop) {}

    Status add(RegionId region, const PageRun& run, const std::byte* content) final {
        if (stop_.stop_requested()) return cancelled();
        if (sent_ != nullptr) sent_->note_sent(region, run);
        count(run);
        PageRange left = run.pages;
        while (left.count != 0) {
            const std::uint64_t taken = packet().add(region, {left, run.kind}, content);
            left = {left.first + taken, left.count - taken};
            // Pages of zeros have no content.
            if (content != nullptr) content += taken * kPageSize;
            if (taken == 0 || full()) MIGRATE_TRY(pass_on());
        }
        return {};
    }
    Status release() final { return packet().payload().empty() ? Status() : pass_on(); }

  protected:
    const std::stop_token& stop() const { return stop_; }
    virtual void count(const PageRun& run) = 0;
    // The packet being filled.
    virtual PacketBuilder& packet() = 0;
    virtual bool full() { return packet().full(); }
    // Sends the packet or hands it over; packet() is empty afterwards. May block.
    virtual Status pass_on() = 0;

  private:
    SentPages* sent_;
    const std::stop_token& stop_;
};

// zero-page-detection=multifd, dsa-accel or none: the thread that scans also sends.
class ChannelRuns final : public PackedRuns {
  public:
    ChannelRuns(SendChannel& channel, SendShared& shared, std::uint32_t round,
                const std::stop_token& stop)
        : PackedRuns(shared.sent, stop),
          channel_(channel),
          budget_(shared.budget),
          tail_(shared.tail),
          devices_(shared.devices),
          round_(round),
          packet_(shared.packet_bytes) {}

    // Sends the rest of memory, then the rest of the device chunks.
    Status finish() {
        if (!packet_.empty()) MIGRATE_TRY(pass_on());
        return devices_ != nullptr ? devices_->send_rest(channel_, round_, stop()) : Status();
    }

  private:
    void count(const PageRun& run) override {
        transport::PageCounts pages;
        pages.add(run);
        channel_.count(pages);
        if (tail_ != nullptr) tail_->count(run.pages.count);
    }
    PacketBuilder& packet() override { return packet_; }
    Status pass_on() override {
        MIGRATE_TRY(channel_.send(packet_, round_, stop()));
        if (!budget_.pace(stop())) return cancelled();
        // One chunk follows each packet, so neither memory nor devices wait for the other to end.
        return devices_ != nullptr ? devices_->send_one(channel_, round_, stop()) : Status();
    }

    SendChannel& channel_;
    CpuBudget& budget_;
    TailProbe* tail_;
    DeviceSender* devices_;
    std::uint32_t round_;
    PacketBuilder packet_;
};

// zero-page-detection=legacy: packets go to the channels' threads through the feed.
class HandedRuns final : public PackedRuns {
  public:
    static Result<std::unique_ptr<HandedRuns>> create(const SendShared& shared,
                                                      const std::stop_token& stop) {
        std::unique_ptr<HandedRuns> runs(new HandedRuns(shared, stop));
        if (!runs->held_) return cancelled();
        return runs;
    }

    void finish() {
        if (held_->empty()) {
            feed_.give_back(std::move(held_));
        } else {
            feed_.hand_over(std::move(held_));
        }
        feed_.end_round();
    }

  private:
    HandedRuns(const SendShared& shared, const std::stop_token& stop)
        : PackedRuns(shared.sent, stop), feed_(*shared.legacy), held_(feed_.take_empty(stop)) {}
    // The channel that sends the pages counts them.
    void count(const PageRun&) override {}
    PacketBuilder& packet() override { return *held_; }
    // A packet without content has room for almost any number of pages.
    bool full() override {
        return held_->full() || held_->counts().total() >= kLegacyPagesPerPacket;
    }
    Status pass_on() override {
        feed_.hand_over(std::move(held_));
        held_ = feed_.take_empty(stop());
        return held_ ? Status() : Status(cancelled());
    }

    LegacyFeed& feed_;
    LegacyFeed::Packet held_;  // null only after a cancellation or finish()
};

// Scans every span that this thread claims.
Status scan_spans(SendShared& shared, unsigned group, SpanScanner& scanner, RunSink& runs,
                  const std::stop_token& stop) {
    const RoundPlan& plan = *shared.plan;
    while (const auto span = plan.claim(group)) {
        WorkSpan rest = *span;
        while (rest.pages.count != 0) {
            MIGRATE_ASSIGN(const RoundPlan::Part part, plan.next_part(rest));
            shared.postponed.fetch_add(part.postponed, std::memory_order_relaxed);
            if (shared.tail != nullptr) shared.tail->count(part.postponed);
            MIGRATE_TRY(scanner.scan({rest.region, part.pages}, plan.pages_of(rest.region), runs));
            // Needed here, too: zeros only may fill no packet, and so never reach pass_on().
            if (!shared.budget.pace(stop)) return cancelled();
            rest.pages = {part.pages.end(), rest.pages.end() - part.pages.end()};
        }
    }
    return scanner.finish(runs);
}

}  // namespace

SendChannel::SendChannel(ChannelId id, transport::Socket socket,
                         std::unique_ptr<transport::Compressor> compressor, transport::Pacer& pacer,
                         SentPages* copies, const ChannelPath& path)
    : id_(id),
      socket_(std::move(socket)),
      payload_(std::move(compressor), copies),
      pacer_(pacer),
      path_(path) {}

// Waits until these bytes may be sent. The path comes first: what waits for its own path takes no
// bandwidth from the others. False after a stop.
bool SendChannel::pace(std::uint64_t bytes, const std::stop_token& stop) {
    if (path_.pacer != nullptr && !path_.pacer->acquire(bytes, stop)) return false;
    return pacer_.acquire(bytes, stop);
}

Status SendChannel::send_hello(const transport::SessionId& session, std::uint16_t epoch) {
    Status sent = socket_.send(transport::encode_hello({.role = transport::ConnectionRole::kData,
                                                        .channel = id_,
                                                        .epoch = epoch,
                                                        .session = session}));
    if (!sent)
        return std::move(sent).error().with_context(
            fmt::format("channel {}, hello", index_of(id_)));
    return {};
}

Status SendChannel::run(SendShared& shared, SpanScanner* scanner, unsigned group,
                        const std::stop_token& stop) {
    const std::stop_callback wake(stop, [this] { shutdown(); });
    while (const auto opened = shared.gate.next_round(index_of(id_), last_round_, stop)) {
        const std::uint32_t round = *opened - shared.continued;
        MIGRATE_TRY(scanner != nullptr ? send_round(shared, *scanner, round, group, stop)
                                       : send_filled_packets(shared, round, stop));
        if (stop.stop_requested()) break;
        MIGRATE_TRY(send_sync(round));
        last_round_ = *opened;
        shared.gate.arrive();
        // Waits for the completions of zero-copy sends, and so comes after arrive(): the two sides
        // end the round meanwhile. The next one begins once the receiver has all pages of this one,
        // and the completions are here by then.
        MIGRATE_TRY(finish_in_place());
    }
    return {};
}

Status SendChannel::finish_in_place() {
    Status finished = socket_.finish_in_place();
    if (finished) return {};
    return std::move(finished).error().with_context(
        fmt::format("channel {}, zero-copy send", index_of(id_)));
}

Status SendChannel::send_round(SendShared& shared, SpanScanner& scanner, std::uint32_t round,
                               unsigned group, const std::stop_token& stop) {
    ChannelRuns runs(*this, shared, round, stop);
    MIGRATE_TRY(scan_spans(shared, group, scanner, runs, stop));
    return runs.finish();
}

Status SendChannel::send_filled_packets(SendShared& shared, std::uint32_t round,
                                        const std::stop_token& stop) {
    LegacyFeed& feed = *shared.legacy;
    while (LegacyFeed::Packet packet = feed.take_filled(stop)) {
        count(packet->counts());
        if (shared.tail != nullptr) shared.tail->count(packet->counts().total());
        MIGRATE_TRY(send(*packet, round, stop));
        feed.give_back(std::move(packet));
        if (!shared.budget.pace(stop)) return cancelled();
    }
    return {};
}

Status feed_legacy_round(SendShared& shared, SpanScanner& scanner, const std::stop_token& stop) {
    MIGRATE_ASSIGN(const auto runs, HandedRuns::create(shared, stop));
    MIGRATE_TRY(scan_spans(shared, 0, scanner, *runs, stop));
    runs->finish();
    return {};
}

Status SendChannel::send(PacketBuilder& packet, std::uint32_t round, const std::stop_token& stop) {
    Result<PacketPayload::Form> payload = payload_.prepare(packet, socket_.avoids_copies());
    if (!payload) return std::move(payload).error().with_context(where(packet));

    const std::span<const std::byte> runs = packet.finish_runs();
    const transport::PacketHeaderBytes header = transport::encode_packet_header(
        {.kind = transport::PacketKind::kPages,
         .compression = payload->compression,
         .region = packet.region(),
         .round = round,
         .sequence = sequence_,
         .first_page = packet.first_page(),
         .normal_pages = static_cast<std::uint32_t>(packet.counts().normal),
         .payload_bytes = static_cast<std::uint32_t>(payload->bytes),
         .has_checksum = payload->has_checksum},
        runs);
    const std::uint64_t trailer = payload->has_checksum ? transport::kPayloadChecksumSize : 0;
    if (!pace(header.size() + runs.size() + payload->bytes + trailer, stop)) {
        return Error(ErrorKind::kCancelled, "cancelled");
    }
    Status sent = payload_.send(socket_, header, runs);
    if (!sent) return std::move(sent).error().with_context(where(packet));
    count_packet(payload->bytes != 0, payload->has_checksum);
    counters_.payload_bytes.fetch_add(payload->bytes, std::memory_order_relaxed);
    packet.clear();
    return {};
}

Status SendChannel::send_in_place(std::vector<bool> regions) {
    MIGRATE_TRY(socket_.use_zero_copy());
    payload_.send_in_place(std::move(regions));
    return {};
}

void SendChannel::add_checksums(std::vector<bool> changing, bool all) {
    payload_.add_checksums(std::move(changing), all);
    device_checksum_.emplace();
}

std::string SendChannel::where(const PacketBuilder& packet) const {
    return fmt::format("channel {}, packet {} at page {}", index_of(id_), sequence_,
                       packet.first_page());
}

void SendChannel::count_packet(bool has_payload, bool has_checksum) {
    ++sequence_;
    counters_.count_packet(has_payload, has_checksum);
}

Status SendChannel::send_sync(std::uint32_t round) {
    const transport::PacketHeaderBytes header = transport::encode_packet_header(
        {.kind = transport::PacketKind::kSync, .round = round, .sequence = sequence_}, {});
    Status sent = socket_.send(header);
    if (!sent)
        return std::move(sent).error().with_context(fmt::format("channel {}, SYNC", index_of(id_)));
    count_packet(false, false);
    return {};
}

Status SendChannel::send_device(std::span<const std::byte> header, std::span<const std::byte> chunk,
                                std::uint32_t round, const std::stop_token& stop) {
    const bool has_checksum = device_checksum_.has_value();
    const transport::PacketHeaderBytes packet =
        transport::encode_packet_header({.kind = transport::PacketKind::kDeviceState,
                                         .round = round,
                                         .sequence = sequence_,
                                         .payload_bytes = static_cast<std::uint32_t>(chunk.size()),
                                         .has_checksum = has_checksum},
                                        header);
    transport::PayloadChecksumBytes trailer{};
    if (has_checksum) {
        device_checksum_->restart();
        device_checksum_->add(chunk);
        trailer = device_checksum_->finish(packet);
    }
    std::array<iovec, 4> parts{
        part_of(packet),
        part_of(header),
        part_of(chunk),
        part_of(std::span(trailer).first(has_checksum ? trailer.size() : 0)),
    };
    std::uint64_t bytes = 0;
    for (const iovec& part : parts) bytes += part.iov_len;
    if (!pace(bytes, stop)) return Error(ErrorKind::kCancelled, "cancelled");
    Status sent = socket_.send(parts);
    if (!sent) {
        return std::move(sent).error().with_context(
            fmt::format("channel {}, packet {}", index_of(id_), sequence_));
    }
    count_packet(true, has_checksum);
    counters_.device_bytes.fetch_add(chunk.size(), std::memory_order_relaxed);
    return {};
}

}  // namespace migrate::engine
