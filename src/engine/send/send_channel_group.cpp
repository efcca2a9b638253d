#include "engine/send/send_channel_group.hpp"

#include "engine/report/session_report.hpp"
#include "transport/compressor.hpp"

namespace migrate::engine {
namespace {

// Packets that circulate for each channel in legacy mode: one being sent, one waiting.
constexpr std::size_t kLegacyPacketsPerChannel = 2;

Result<std::unique_ptr<transport::Compressor>> make_compressor(const SendConfig& config) {
    if (config.negotiated.compression() == transport::Compression::kNone) {
        return std::unique_ptr<transport::Compressor>();
    }
    return transport::Compressor::create(config.negotiated.compression(), config.compression_level,
                                         config.negotiated.packet_bytes());
}

}  // namespace

SendChannelGroup::SendChannelGroup(const Needs& needs)
    : needs_(needs),
      cancellation_(needs.session),
      gate_(needs.config.negotiated.channels()),
      shared_{.packet_bytes = needs.config.negotiated.packet_bytes(),
              .gate = gate_,
              .sent = needs.sent} {
    if (needs.config.detection != ZeroPageDetection::kLegacy) return;
    legacy_ =
        std::make_unique<LegacyFeed>(kLegacyPacketsPerChannel * needs.config.negotiated.channels(),
                                     needs.config.negotiated.packet_bytes());
    shared_.legacy = legacy_.get();
}

Result<std::unique_ptr<SendChannelGroup>> SendChannelGroup::create(
    std::vector<transport::Socket> sockets, const transport::SessionId& session,
    const Needs& needs) {
    std::unique_ptr<SendChannelGroup> group(new SendChannelGroup(needs));
    for (transport::Socket& socket : sockets) {
        MIGRATE_TRY(group->add_channel(std::move(socket), session));
    }
    return group;
}

Status SendChannelGroup::add_channel(transport::Socket socket,
                                     const transport::SessionId& session) {
    MIGRATE_ASSIGN(auto compressor, make_compressor(needs_.config));
    const ChannelId id{static_cast<std::uint16_t>(channels_.size())};
    SentPages* copies =
        needs_.sent != nullptr && needs_.sent->wants_copies() ? needs_.sent : nullptr;
    channels_.push_back(std::make_unique<SendChannel>(id, std::move(socket), std::move(compressor),
                                                      needs_.pacer, copies));
    return channels_.back()->send_hello(session);
}

Status SendChannelGroup::start() {
    workers_.reserve(channels_.size());
    if (legacy_) MIGRATE_TRY(needs_.scanners.scanner(0).restart());
    for (std::size_t i = 0; i < channels_.size(); ++i) {
        SpanScanner* scanner = legacy_ ? nullptr : &needs_.scanners.scanner(i);
        if (scanner != nullptr) MIGRATE_TRY(scanner->restart());
        const auto work = [this, channel = channels_[i].get(), scanner] {
            return channel->run(shared_, scanner, cancellation_.token());
        };
        MIGRATE_ASSIGN(SessionThread worker,
                       SessionThread::start(fmt::format("multifdsend_{}", i), needs_.times,
                                            cancellation_, work));
        workers_.push_back(std::move(worker));
    }
    return {};
}

Result<SendChannelGroup::RoundSent> SendChannelGroup::run(std::uint32_t round, RoundPlan plan) {
    const transport::PageCounts pages_before = pages();
    const std::uint64_t bytes_before = bytes();
    const std::uint64_t planned = plan.pages();
    shared_.plan.emplace(std::move(plan));
    if (legacy_) legacy_->begin_round();
    gate_.open(round);
    if (legacy_) {
        MIGRATE_TRY(feed_legacy_round(shared_, needs_.scanners.scanner(0), cancellation_.token()));
    }
    if (!gate_.wait_for_all(cancellation_.token())) {
        return Error(ErrorKind::kCancelled, "cancelled");
    }
    const transport::PageCounts now = pages();
    if (const std::uint64_t sent = now.total() - pages_before.total(); sent != planned) {
        return make_error("round {} was to send {} pages and sent {}", round, planned, sent);
    }
    return RoundSent{now.normal - pages_before.normal, bytes() - bytes_before};
}

Status SendChannelGroup::carry(DeviceSender& devices) {
    for (const auto& channel : channels_) MIGRATE_TRY(channel->expect_back_pressure());
    // The channels' threads read this from the next round on, which the gate opens.
    shared_.devices = &devices;
    return {};
}

void SendChannelGroup::finish() {
    gate_.close();
    workers_.clear();
}

void SendChannelGroup::shutdown() {
    cancellation_.end();
    finish();
}

transport::PageCounts SendChannelGroup::pages() const { return pages_of(channels_); }

std::uint64_t SendChannelGroup::bytes() const {
    std::uint64_t bytes = 0;
    for (const auto& channel : channels_) bytes += channel->bytes();
    return bytes;
}

std::uint64_t SendChannelGroup::bytes_under_way() const {
    std::uint64_t bytes = 0;
    for (const auto& channel : channels_) bytes += channel->bytes_under_way();
    return bytes;
}

void SendChannelGroup::fill(Report& report) const { add_channels(report, channels_); }

}  // namespace migrate::engine
