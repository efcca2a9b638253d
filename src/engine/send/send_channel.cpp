#include "engine/send/send_channel.hpp"

#include <array>
#include <cstring>

#include "base/fault_guard.hpp"
#include "engine/devices/device_sender.hpp"

namespace migrate::engine {

using transport::Compression;
using transport::PacketBuilder;

namespace {

// Index in parts_ of the first part of the payload: the header and the runs come before it.
constexpr std::size_t kPayloadPart = 2;
// A shorter payload is copied: that costs less than the completion (the kernel's documentation
// names about 10 KB).
constexpr std::uint64_t kLeastInPlace = 16 * kKiB;

// Legacy packets are passed on after 1 GiB of pages.
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
    // Passes the packet on and makes packet() an empty one. May block.
    virtual Status pass_on() = 0;

  private:
    SentPages* sent_;
    const std::stop_token& stop_;
};

// For multifd, dsa-accel and none: the thread that scans also sends.
class ChannelRuns final : public PackedRuns {
  public:
    ChannelRuns(SendChannel& channel, SendShared& shared, std::uint32_t round,
                const std::stop_token& stop)
        : PackedRuns(shared.sent, stop),
          channel_(channel),
          budget_(shared.budget),
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
    DeviceSender* devices_;
    std::uint32_t round_;
    PacketBuilder packet_;
};

// For legacy: packets go to the channels' threads through the feed.
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
    // A packet without content has room for any number of pages, but its pages are counted only
    // when it is sent.
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
        MIGRATE_TRY(scanner.scan(*span, plan.pages_of(span->region), runs));
        // A span may have only zeros, of which no packet is sent.
        if (!shared.budget.pace(stop)) return cancelled();
    }
    return scanner.finish(runs);
}

}  // namespace

SendChannel::SendChannel(ChannelId id, transport::Socket socket,
                         std::unique_ptr<transport::Compressor> compressor, transport::Pacer& pacer,
                         SentPages* copies)
    : id_(id),
      socket_(std::move(socket)),
      compressor_(std::move(compressor)),
      pacer_(pacer),
      copies_(copies) {}

Status SendChannel::send_hello(const transport::SessionId& session) {
    Status sent = socket_.send(transport::encode_hello(
        {.role = transport::ConnectionRole::kData, .channel = id_, .session = session}));
    if (!sent)
        return std::move(sent).error().with_context(
            fmt::format("channel {}, hello", index_of(id_)));
    return {};
}

Status SendChannel::run(SendShared& shared, SpanScanner* scanner, unsigned group,
                        const std::stop_token& stop) {
    const std::stop_callback wake(stop, [this] { shutdown(); });
    std::uint32_t done = 0;
    while (const auto round = shared.gate.next_round(index_of(id_), done, stop)) {
        MIGRATE_TRY(scanner != nullptr ? send_round(shared, *scanner, *round, group, stop)
                                       : send_filled_packets(shared, *round, stop));
        if (stop.stop_requested()) break;
        MIGRATE_TRY(send_sync(*round));
        done = *round;
        shared.gate.arrive();
        // The round ends meanwhile. It is over at the receiver before the next one begins, so this
        // delays nothing.
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
    Result<Payload> payload = prepare_payload(packet);
    if (!payload) return std::move(payload).error().with_context(where(packet));

    const std::span<const std::byte> runs = packet.finish_runs();
    transport::PacketHeaderBytes header = transport::encode_packet_header(
        {.kind = transport::PacketKind::kPages,
         .compression = payload->compression,
         .region = packet.region(),
         .round = round,
         .sequence = sequence_,
         .first_page = packet.first_page(),
         .normal_pages = static_cast<std::uint32_t>(packet.counts().normal),
         .payload_bytes = static_cast<std::uint32_t>(payload->bytes)},
        runs);
    parts_[0] = {header.data(), header.size()};
    parts_[1] = {const_cast<std::byte*>(runs.data()), runs.size()};
    if (!pacer_.acquire(header.size() + runs.size() + payload->bytes, stop)) {
        return Error(ErrorKind::kCancelled, "cancelled");
    }
    // The header and the runs are overwritten by the next packet, so they are copied.
    Status sent =
        payload->in_place ? socket_.send_in_place(parts_, kPayloadPart) : socket_.send(parts_);
    if (!sent) return std::move(sent).error().with_context(where(packet));
    count_packet();
    counters_.payload_bytes.fetch_add(payload->bytes, std::memory_order_relaxed);
    packet.clear();
    return {};
}

// Fills parts_ from kPayloadPart on with the content of the packet's normal pages, as sent on the
// wire. Only memory of the guest may be sent in place: a guest that changes it changes the content
// of that page and nothing else, while a copy and a compressed stream lie in buffers of this
// channel, which the next packet overwrites.
Result<SendChannel::Payload> SendChannel::prepare_payload(const PacketBuilder& packet) {
    parts_.resize(kPayloadPart);
    Payload prepared;
    iovec copied{};
    std::span<const iovec> payload = packet.payload();
    for (const iovec& part : payload) prepared.bytes += part.iov_len;
    if (copies_ != nullptr && !payload.empty()) {
        MIGRATE_ASSIGN(const std::span<const std::byte> copy, copy_payload(packet));
        copied = {const_cast<std::byte*>(copy.data()), copy.size()};
        payload = std::span(&copied, 1);
    }
    if (compressor_ && !payload.empty() && compressor_->worth_trying()) {
        std::span<const std::byte> whole;
        MIGRATE_TRY(guard_reads("the source", [&] { whole = compressor_->gather(payload); }));
        MIGRATE_ASSIGN(const std::span<const std::byte> compressed, compressor_->compress());
        // If compression did not pay, the copy is sent instead of the source: it is in the cache.
        const std::span<const std::byte> chosen = compressed.empty() ? whole : compressed;
        parts_.push_back({const_cast<std::byte*>(chosen.data()), chosen.size()});
        if (!compressed.empty()) prepared.compression = compressor_->method();
        prepared.bytes = chosen.size();
        return prepared;
    }
    parts_.insert(parts_.end(), payload.begin(), payload.end());
    prepared.in_place = prepared.bytes >= kLeastInPlace && goes_in_place(packet);
    return prepared;
}

bool SendChannel::goes_in_place(const PacketBuilder& packet) const {
    const std::size_t region = index_of(packet.region());
    return copies_ == nullptr && region < in_place_.size() && in_place_[region];
}

Status SendChannel::send_in_place(std::vector<bool> regions) {
    MIGRATE_TRY(socket_.use_zero_copy());
    in_place_ = std::move(regions);
    return {};
}

Result<std::span<const std::byte>> SendChannel::copy_payload(const PacketBuilder& packet) {
    std::size_t size = 0;
    for (const iovec& part : packet.payload()) size += part.iov_len;
    copy_.resize(size);
    MIGRATE_TRY(guard_reads("the source", [&] {
        std::byte* to = copy_.data();
        for (const iovec& part : packet.payload()) {
            std::memcpy(to, part.iov_base, part.iov_len);
            to += part.iov_len;
        }
    }));
    const std::byte* at = copy_.data();
    for (const PageRange& pages : packet.normal_pages()) {
        copies_->note_copy(packet.region(), pages, {at, pages.size_bytes()});
        at += pages.size_bytes();
    }
    return std::span<const std::byte>(copy_);
}

std::string SendChannel::where(const PacketBuilder& packet) const {
    return fmt::format("channel {}, packet {} at page {}", index_of(id_), sequence_,
                       packet.first_page());
}

void SendChannel::count_packet() {
    ++sequence_;
    counters_.packets.fetch_add(1, std::memory_order_relaxed);
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

}  // namespace migrate::engine
