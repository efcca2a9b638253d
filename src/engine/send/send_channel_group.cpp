#include "engine/send/send_channel_group.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "engine/devices/device_sender.hpp"
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
              .sent = needs.sent,
              .budget = needs.budget} {
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
    group->channels_.reserve(
        std::max<std::size_t>(sockets.size(), needs.config.negotiated.most_channels()));
    if (!sockets.empty()) group->zero_copy_ = group->choose_zero_copy_for(sockets.front());
    for (transport::Socket& socket : sockets) {
        MIGRATE_ASSIGN(auto channel,
                       group->make_channel(group->channels_.size(), std::move(socket), session));
        group->channels_.add(std::move(channel));
    }
    return group;
}

// The consumer of copies of what is sent; null if there is none.
SentPages* SendChannelGroup::copies() const {
    return needs_.sent != nullptr && needs_.sent->wants_copies() ? needs_.sent : nullptr;
}

// All connections of a group are alike.
ZeroCopyChoice SendChannelGroup::choose_zero_copy_for(transport::Socket& socket) const {
    const AutoOnOff option = needs_.config.zero_copy;
    ZeroCopyFacts facts{.peer_is_local = socket.peer_is_local(),
                        .sends_copies = copies() != nullptr,
                        .needs_copies = needs_.checksums.used &&
                                        needs_.checksums.option == AutoOnOff::kOn &&
                                        needs_.sent != nullptr,
                        .in_place = needs_.scanners.regions_in_place(),
                        .refused = {}};
    ZeroCopyChoice choice = choose_zero_copy(option, facts);
    if (choice.used) {
        if (const Status allowed = socket.use_zero_copy(); !allowed) {
            facts.refused = allowed.error().message();
            choice = choose_zero_copy(option, facts);
        }
    }
    if (!choice.used && option == AutoOnOff::kOn) {
        log::warning("zero-copy-send=on has no effect: {}", choice.reason);
    }
    return choice;
}

Result<std::unique_ptr<SendChannel>> SendChannelGroup::make_channel(
    std::size_t id, transport::Socket socket, const transport::SessionId& session) {
    MIGRATE_ASSIGN(auto compressor, make_compressor(needs_.config));
    auto channel =
        std::make_unique<SendChannel>(ChannelId{static_cast<std::uint16_t>(id)}, std::move(socket),
                                      std::move(compressor), needs_.pacer, copies());
    if (shared_.devices != nullptr) MIGRATE_TRY(channel->expect_back_pressure());
    if (needs_.checksums.used) {
        channel->add_checksums(needs_.changing, needs_.checksums.option == AutoOnOff::kOn);
    }
    if (zero_copy_.used) {
        MIGRATE_TRY(channel->send_in_place(needs_.scanners.regions_in_place()));
    }
    MIGRATE_TRY(channel->send_hello(session));
    return channel;
}

Status SendChannelGroup::start() {
    workers_.reserve(needs_.config.negotiated.most_channels());
    std::vector<SendChannel*> channels;
    channels_.each([&](SendChannel& channel) { channels.push_back(&channel); });
    if (legacy_) {
        MIGRATE_ASSIGN(SpanScanner* const scanner, needs_.scanners.scanner(0));
        MIGRATE_TRY(scanner->restart());
    }
    for (SendChannel* channel : channels) MIGRATE_TRY(start_worker(*channel));
    return {};
}

Status SendChannelGroup::start_worker(SendChannel& channel) {
    SpanScanner* scanner = nullptr;
    if (!legacy_) {
        MIGRATE_ASSIGN(scanner, needs_.scanners.scanner(index_of(channel.id())));
        MIGRATE_TRY(scanner->restart());
    }
    const auto work = [this, &channel, scanner]() -> Status {
        const std::size_t id = index_of(channel.id());
        if (const CpuSet& cpus = needs_.placement.cpus_of(id); !cpus.empty()) {
            // Its place makes the channel faster, and nothing else depends on it.
            if (const Status placed = run_on(cpus); !placed) {
                log::warning("channel {}: {}", id, placed.error().message());
            }
        }
        return channel.run(shared_, scanner, needs_.placement.group_of(id), cancellation_.token());
    };
    MIGRATE_ASSIGN(SessionThread worker,
                   SessionThread::start(fmt::format("multifdsend_{}", index_of(channel.id())),
                                        needs_.times, cancellation_, work));
    workers_.push_back(std::move(worker));
    return {};
}

Status SendChannelGroup::prepare(std::vector<transport::Socket> sockets,
                                 const transport::SessionId& session) {
    for (transport::Socket& socket : sockets) {
        MIGRATE_ASSIGN(auto channel, make_channel(channels_.size() + prepared_.size(),
                                                  std::move(socket), session));
        prepared_.push_back(std::move(channel));
        MIGRATE_TRY(start_worker(*prepared_.back()));
    }
    return {};
}

void SendChannelGroup::admit(std::uint16_t channels) {
    auto next = prepared_.begin();
    while (next != prepared_.end() && channels_.size() < channels)
        channels_.add(std::move(*next++));
    prepared_.erase(prepared_.begin(), next);
    // The receiver has closed the others.
    for (const auto& channel : prepared_) channel->shutdown();
    if (shared_.devices != nullptr) shared_.devices->set_channels(count());
    gate_.admit(count());
}

Result<SendChannelGroup::RoundSent> SendChannelGroup::run(std::uint32_t round, RoundPlan plan,
                                                          RoundWatch* watch) {
    const transport::PageCounts pages_before = pages();
    const std::uint64_t bytes_before = bytes();
    const std::uint64_t planned = plan.pages();
    shared_.plan.emplace(std::move(plan));
    if (needs_.placement.groups() > 1) {
        shared_.plan->divide(needs_.placement.region_groups(), needs_.placement.groups());
    }
    if (legacy_) legacy_->begin_round();
    gate_.open(round);
    if (legacy_) {
        MIGRATE_ASSIGN(SpanScanner* const scanner, needs_.scanners.scanner(0));
        MIGRATE_TRY(feed_legacy_round(shared_, *scanner, cancellation_.token()));
    }
    MIGRATE_TRY(await_round_end(watch));
    const transport::PageCounts now = pages();
    if (const std::uint64_t sent = now.total() - pages_before.total(); sent != planned) {
        return make_error("round {} was to send {} pages and sent {}", round, planned, sent);
    }
    return RoundSent{now.normal - pages_before.normal, bytes() - bytes_before};
}

Status SendChannelGroup::await_round_end(RoundWatch* watch) {
    const std::stop_token stop = cancellation_.token();
    if (watch != nullptr) watch->begin();
    while (true) {
        const auto next = watch != nullptr ? watch->next_look() : std::nullopt;
        const bool ended = next ? gate_.wait_for_all_until(stop, *next) : gate_.wait_for_all(stop);
        if (ended) return {};
        if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
        // Once a worker has arrived, no span is left: a further channel would have nothing to send,
        // and the rate of the last channels says nothing about that of all.
        if (gate_.any_arrived()) {
            watch = nullptr;
        } else if (next) {
            MIGRATE_TRY(watch->look());
        }
    }
}

Status SendChannelGroup::carry(DeviceSender& devices) {
    Status status;
    channels_.each([&](SendChannel& channel) {
        if (status) status = channel.expect_back_pressure();
    });
    MIGRATE_TRY(std::move(status));
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
    channels_.each([&](const SendChannel& channel) { bytes += channel.bytes(); });
    return bytes;
}

std::uint64_t SendChannelGroup::bytes_under_way() const {
    std::uint64_t bytes = 0;
    channels_.each([&](const SendChannel& channel) { bytes += channel.bytes_under_way(); });
    return bytes;
}

void SendChannelGroup::fill(Report& report) const {
    add_channels(report, channels_);
    report.checksums = checksum_report(needs_.checksums, channels_);
    report.cpu.numa_groups = needs_.placement.groups();
    ZeroCopyReport& zero_copy = report.zero_copy.emplace();
    zero_copy.used = zero_copy_.used;
    zero_copy.reason = zero_copy_.reason;
    channels_.each([&](const SendChannel& channel) {
        zero_copy.figures += channel.zero_copy();
        if (zero_copy.reason.empty()) zero_copy.reason = channel.zero_copy_fallback();
    });
}

}  // namespace migrate::engine
