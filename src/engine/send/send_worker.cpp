#include "engine/send/send_worker.hpp"

#include "transport/packet_builder.hpp"

namespace migrate::engine {
namespace {

using transport::PacketBuilder;

// Legacy packets are passed on after 1 GiB of pages.
constexpr std::uint64_t kLegacyPagesPerPacket = kGiB / kPageSize;

Error cancelled() { return Error(ErrorKind::kCancelled, "cancelled"); }

// Packs runs into packets. Invariant: a packet is passed on before it would have to hold more.
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
    ChannelRuns(SendChannel& channel, const SendShared& shared, std::uint32_t round,
                const std::stop_token& stop)
        : PackedRuns(shared.sent, stop),
          channel_(channel),
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
        // Takes turns, so that neither memory nor devices wait for all of the other.
        return devices_ != nullptr ? devices_->send_one(channel_, round_, stop()) : Status();
    }

    SendChannel& channel_;
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
Status scan_spans(const RoundPlan& plan, SpanScanner& scanner, RunSink& runs) {
    while (const auto span = plan.claim()) {
        MIGRATE_TRY(scanner.scan(*span, plan.pages_of(span->region), runs));
    }
    return scanner.finish(runs);
}

}  // namespace

Status SendWorker::run(const std::stop_token& stop) {
    const std::stop_callback wake(stop, [this] { channel_.shutdown(); });
    std::uint32_t done = 0;
    while (const auto round = shared_.gate.next_round(done, stop)) {
        MIGRATE_TRY(scanner_ != nullptr ? send_round(*round, stop)
                                        : send_filled_packets(*round, stop));
        if (stop.stop_requested()) break;
        MIGRATE_TRY(channel_.send_sync(*round));
        done = *round;
        shared_.gate.arrive();
    }
    return {};
}

Status SendWorker::send_round(std::uint32_t round, const std::stop_token& stop) {
    ChannelRuns runs(channel_, shared_, round, stop);
    MIGRATE_TRY(scan_spans(*shared_.plan, *scanner_, runs));
    return runs.finish();
}

Status SendWorker::send_filled_packets(std::uint32_t round, const std::stop_token& stop) {
    while (LegacyFeed::Packet packet = shared_.legacy->take_filled(stop)) {
        channel_.count(packet->counts());
        MIGRATE_TRY(channel_.send(*packet, round, stop));
        shared_.legacy->give_back(std::move(packet));
    }
    return {};
}

Status feed_legacy_round(SendShared& shared, SpanScanner& scanner, const std::stop_token& stop) {
    MIGRATE_ASSIGN(const auto runs, HandedRuns::create(shared, stop));
    MIGRATE_TRY(scan_spans(*shared.plan, scanner, *runs));
    runs->finish();
    return {};
}

}  // namespace migrate::engine
