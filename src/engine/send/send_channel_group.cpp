// SPDX-License-Identifier: Apache-2.0
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
// A wait for the end of a round begins anew after this time.
constexpr std::chrono::hours kLongestWait{1};

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
      tail_(needs.pacer),
      shared_{.packet_bytes = needs.config.negotiated.packet_bytes(),
              .gate = gate_,
              .sent = needs.sent,
              .budget = needs.budget,
              .tail = needs.sent != nullptr ? &tail_ : nullptr} {
    if (needs.config.detection != ZeroPageDetection::kLegacy) return;
    legacy_ =
        std::make_unique<LegacyFeed>(kLegacyPacketsPerChannel * needs.config.negotiated.channels(),
                                     needs.config.negotiated.packet_bytes());
    shared_.legacy = legacy_.get();
}

Result<std::unique_ptr<SendChannelGroup>> SendChannelGroup::create(
    std::vector<PathSocket> sockets, const transport::SessionId& session, const Needs& needs) {
    std::unique_ptr<SendChannelGroup> group(new SendChannelGroup(needs));
    group->channels_.reserve(kMaxChannelIds);
    if (!sockets.empty()) group->zero_copy_ = group->choose_zero_copy_for(sockets.front().socket);
    for (PathSocket& socket : sockets) {
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
    const auto& paths = needs_.config.paths;
    if (std::any_of(paths.begin(), paths.end(),
                    [](const PathConfig& path) { return path.route.local.mptcp; })) {
        facts.refused = "the kernel has no zero-copy send for MPTCP, which a path uses";
    }
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
    std::size_t id, PathSocket socket, const transport::SessionId& session) {
    MIGRATE_ASSIGN(auto compressor, make_compressor(needs_.config));
    const ChannelPath path{socket.path,
                           needs_.paths != nullptr ? needs_.paths->pacer(socket.path) : nullptr};
    auto channel = std::make_unique<SendChannel>(ChannelId{static_cast<std::uint16_t>(id)},
                                                 std::move(socket.socket), std::move(compressor),
                                                 needs_.pacer, copies(), path);
    if (shared_.devices != nullptr) MIGRATE_TRY(channel->expect_back_pressure());
    if (needs_.checksums.used) {
        channel->add_checksums(needs_.changing, needs_.checksums.option == AutoOnOff::kOn);
    }
    if (zero_copy_.used) {
        MIGRATE_TRY(channel->send_in_place(needs_.scanners.regions_in_place()));
    }
    MIGRATE_TRY(channel->send_hello(session, epoch_));
    return channel;
}

Status SendChannelGroup::start() {
    workers_.reserve(kMaxChannelIds);
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
        const std::stop_token stop = cancellation_.token();
        Status ended = channel.run(shared_, scanner, needs_.placement.group_of(id), stop);
        if (ended || stop.stop_requested()) return ended;
        return leave(channel, std::move(ended).error());
    };
    MIGRATE_ASSIGN(SessionThread worker,
                   SessionThread::start(fmt::format("multifdsend_{}", index_of(channel.id())),
                                        needs_.times, cancellation_, work));
    workers_.push_back({&channel, std::move(worker)});
    return {};
}

// Called on the channel's thread, which ends. If the session survives the loss, the other channels
// claim the spans that are left, and the receiver reports which pages of this channel arrived.
Status SendChannelGroup::leave(SendChannel& channel, Error error) {
    if (!losses_.add(channel.id(), error)) return error;
    log::debug("{}", error.message());
    channel.shutdown();
    gate_.leave(index_of(channel.id()), channel.last_round());
    gate_.interrupt();
    return {};
}

void SendChannelGroup::join(const SendChannel& channel) {
    std::erase_if(workers_,
                  [&channel](const Worker& worker) { return worker.channel == &channel; });
}

Status SendChannelGroup::settle_losses(std::span<const transport::LostChannel> lost) {
    std::vector<SendChannel*> channels;
    channels_.each([&](SendChannel& channel) { channels.push_back(&channel); });
    for (const transport::LostChannel& one : lost) {
        if (one.channel >= channels.size()) {
            return make_error(ErrorKind::kProtocol,
                              "the receiver lost channel {}, and there are {} channels",
                              one.channel, channels.size());
        }
        MIGRATE_TRY(settle(*channels[one.channel], one));
    }
    const std::vector<std::uint16_t> unsettled = losses_.unsettled();
    if (unsettled.empty()) return {};
    return make_error(ErrorKind::kProtocol, "ROUND_BROKEN does not name channel {}, which was lost",
                      unsettled.front());
}

Status SendChannelGroup::settle(SendChannel& channel, const transport::LostChannel& lost) {
    losses_.add_reported(channel.id());
    // A receiver whose main channel was lost cannot know whether its last report arrived.
    if (!losses_.is_unsettled(channel.id()) && epoch_ != 0) return {};
    if (!losses_.is_unsettled(channel.id())) {
        return make_error(ErrorKind::kProtocol, "the receiver lost channel {} twice", lost.channel);
    }
    // If only the receiver has noticed the loss, the thread waits for the next round.
    channel.shutdown();
    gate_.expel(lost.channel);
    join(channel);
    const transport::PageCounts sent = channel.counters().pages.get();
    const transport::PageCounts& came = lost.pages;
    if (came.normal > sent.normal || came.zero > sent.zero || came.unpopulated > sent.unpopulated) {
        return make_error(ErrorKind::kProtocol,
                          "more arrived on channel {} than was sent on it: {} pages instead of {}",
                          lost.channel, came.total(), sent.total());
    }
    // With TLS, records may have arrived of a send that failed, whose bytes do not count as sent.
    const std::uint64_t lost_bytes = channel.bytes() - std::min(channel.bytes(), lost.bytes);
    channel.count_arrived(came);
    losses_.settle(channel.id(), {sent.total() - came.total(), lost_bytes});
    return {};
}

void SendChannelGroup::cut() {
    channels_.each([](const SendChannel& channel) { channel.shutdown(); });
    gate_.interrupt();
}

void SendChannelGroup::lose_all(const Error& why) {
    losses_.count_main_loss();
    end_all(why);
}

void SendChannelGroup::end_all(const Error& why) {
    std::vector<const SendChannel*> ending;
    channels_.each([&](const SendChannel& channel) {
        static_cast<void>(losses_.add(channel.id(), why));
        ending.push_back(&channel);
    });
    for (const auto& channel : prepared_) ending.push_back(channel.get());
    for (const SendChannel* channel : ending) {
        channel->shutdown();
        gate_.dismiss(index_of(channel->id()));
    }
    workers_.clear();
    gate_.end_workers();
}

Status SendChannelGroup::adopt(std::uint16_t channels, std::uint16_t epoch) {
    epoch_ = epoch;
    if (channels < count() || channels > count() + prepared_.size()) {
        return make_error(ErrorKind::kProtocol,
                          "the receiver has {} channels; {} were connected and {} were being added",
                          channels, count(), prepared_.size());
    }
    const Error lost(ErrorKind::kLostConnection, "the main channel was lost");
    for (auto& channel : prepared_) {
        if (count() < channels) {
            static_cast<void>(losses_.add(channel->id(), lost));
            channels_.add(std::move(channel));
        } else {
            gate_.forget(index_of(channel->id()));
        }
    }
    prepared_.clear();
    gate_.admit(count());
    return {};
}

Status SendChannelGroup::prepare(std::vector<PathSocket> sockets,
                                 const transport::SessionId& session) {
    for (PathSocket& socket : sockets) {
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
    // The receiver has closed the others. Other channels may get their ids.
    for (; next != prepared_.end(); ++next) {
        (*next)->shutdown();
        gate_.dismiss(index_of((*next)->id()));
        join(**next);
        gate_.forget(index_of((*next)->id()));
    }
    prepared_.clear();
    if (shared_.devices != nullptr) shared_.devices->set_channels(count());
    gate_.admit(count());
}

Result<SendChannelGroup::RoundSent> SendChannelGroup::run(std::uint32_t round, RoundPlan plan,
                                                          const Watches& watches) {
    round_ = {round, plan.pages(), pages(), bytes(),
              shared_.postponed.load(std::memory_order_relaxed)};
    if (shared_.tail != nullptr) tail_.begin(plan.pages());
    shared_.plan.emplace(std::move(plan));
    return run_plan(round + shared_.continued, watches);
}

Result<SendChannelGroup::RoundSent> SendChannelGroup::continue_round(RoundPlan::Bitmaps arrived,
                                                                     const Watches& watches) {
    shared_.plan.emplace(shared_.plan->without(arrived));
    tail_.give_up();
    round_.tail.reset();
    return run_plan(round_.number + ++shared_.continued, watches);
}

Result<SendChannelGroup::RoundSent> SendChannelGroup::run_plan(std::uint32_t opened,
                                                               const Watches& watches) {
    if (needs_.placement.groups() > 1) {
        shared_.plan->divide(needs_.placement.region_groups(), needs_.placement.groups());
    }
    if (legacy_) legacy_->begin_round();
    gate_.open(opened);
    if (legacy_) {
        MIGRATE_ASSIGN(SpanScanner* const scanner, needs_.scanners.scanner(0));
        MIGRATE_TRY(feed_legacy_round(shared_, *scanner, cancellation_.token()));
    }
    MIGRATE_TRY(await_round_end(watches));
    round_.tail = tail_.end();
    const RoundSent figures = round_sent();
    const std::uint64_t sent = pages().total() - round_.pages_before.total();
    if (sent + figures.postponed != round_.planned && losses_.unsettled().empty()) {
        return make_error("round {} was to send {} pages and sent {}", round_.number,
                          round_.planned - figures.postponed, sent);
    }
    return figures;
}

SendChannelGroup::RoundSent SendChannelGroup::round_sent() const {
    return {pages().normal - round_.pages_before.normal, bytes() - round_.bytes_before,
            shared_.postponed.load(std::memory_order_relaxed) - round_.postponed_before,
            round_.tail};
}

Status SendChannelGroup::await_round_end(const Watches& watches) {
    const std::stop_token stop = cancellation_.token();
    RoundWatch* growth = watches.growth;
    if (growth != nullptr) growth->begin();
    while (true) {
        if (watches.losses != nullptr) MIGRATE_TRY(watches.losses->look());
        auto look = RoundGate::Clock::now() + kLongestWait;
        if (growth != nullptr) look = growth->next_look().value_or(look);
        auto next = look;
        if (watches.losses != nullptr) {
            next = std::min(next, watches.losses->next_look().value_or(next));
        }
        const bool ended = gate_.wait_for_all_until(stop, next);
        if (ended && !all_lost()) return {};
        if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
        if (ended) {
            // Without this watch the loss of a channel ends the session.
            if (watches.losses == nullptr) return Error(ErrorKind::kCancelled, "cancelled");
            MIGRATE_TRY(watches.losses->await_channel());
        }
        // Once a worker has arrived, no span is left: a further channel would have nothing to send,
        // and the rate of the last channels says nothing about that of all.
        if (gate_.any_arrived()) {
            growth = nullptr;
        } else if (growth != nullptr && growth->next_look() && RoundGate::Clock::now() >= look) {
            MIGRATE_TRY(growth->look());
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

std::uint16_t SendChannelGroup::working_on(std::uint16_t path) const {
    std::uint16_t working = 0;
    channels_.each([&](const SendChannel& channel) {
        if (channel.path() == path && !losses_.is_lost(channel.id())) ++working;
    });
    return working;
}

std::uint64_t SendChannelGroup::bytes_under_way() const {
    std::uint64_t bytes = 0;
    channels_.each([&](const SendChannel& channel) { bytes += channel.bytes_under_way(); });
    return bytes;
}

void SendChannelGroup::fill_paths(Report& report) const {
    report.paths = needs_.paths->report();
    std::vector<std::chrono::microseconds> round_trips(report.paths.size());
    channels_.each([&](const SendChannel& channel) {
        PathReport& path = report.paths[channel.path()];
        const transport::TcpFigures tcp = channel.tcp_figures();
        path.bytes += channel.bytes();
        path.retransmits += tcp.retransmits;
        if (losses_.is_lost(channel.id())) {
            ++path.channels_lost;
        } else {
            ++path.channels;
            path.mptcp = tcp.mptcp;
            round_trips[channel.path()] += tcp.round_trip;
        }
    });
    for (std::size_t i = 0; i < report.paths.size(); ++i) {
        PathReport& path = report.paths[i];
        if (path.channels != 0) path.round_trip = round_trips[i] / path.channels;
    }
}

void SendChannelGroup::fill(Report& report) const {
    add_channels(report, channels_);
    if (needs_.paths != nullptr) fill_paths(report);
    report.outages = losses_.report();
    report.multifd.channels -= report.outages.channels_lost;
    report.checksums = checksum_report(needs_.checksums, channels_);
    report.cpu.numa_groups = needs_.placement.groups();
    report.postponed_pages = shared_.postponed.load(std::memory_order_relaxed);
    ZeroCopyReport& zero_copy = report.zero_copy.emplace();
    zero_copy.used = zero_copy_.used;
    zero_copy.reason = zero_copy_.reason;
    channels_.each([&](const SendChannel& channel) {
        zero_copy.figures += channel.zero_copy();
        if (zero_copy.reason.empty()) zero_copy.reason = channel.zero_copy_fallback();
    });
}

}  // namespace migrate::engine
