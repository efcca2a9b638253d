#include "engine/send_session.hpp"

#include <algorithm>
#include <thread>

#include "base/config/unit_text.hpp"
#include "base/log.hpp"
#include "base/version.hpp"
#include "engine/session_report.hpp"
#include "memory/region_digest.hpp"
#include "transport/connector.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {

using transport::FrameType;
using Clock = std::chrono::steady_clock;

namespace {

// Packets that circulate for each channel in legacy mode: one being sent, one waiting.
constexpr std::size_t kLegacyPacketsPerChannel = 2;

}  // namespace

SendSession::SendSession(SendConfig config, const memory::PageSource& source, EventLog& events)
    : config_(std::move(config)),
      source_(source),
      core_(events),
      convergence_(config_.switchover_ack),
      pacer_(config_.tunables.max_bandwidth),
      gate_(config_.channels),
      tunables_(config_.tunables) {}

SendSession::~SendSession() {
    core_.cancellation().fail(Error(ErrorKind::kCancelled, "the session ended"));
    stop_workers();
}

Result<std::unique_ptr<SendSession>> SendSession::create(SendConfig config,
                                                         const memory::PageSource& source,
                                                         EventLog& events, guest::Guest* guest) {
    std::unique_ptr<SendSession> session(new SendSession(std::move(config), source, events));
    if (guest != nullptr) {
        if (session->config_.verify && !guest->can_stand_still()) {
            return make_error(
                ErrorKind::kUsage,
                "a guest that is not paused (pause=none) has no moment that verify=digest "
                "could compare");
        }
        session->guest_kind_ = guest->kind();
        session->guest_state_ = guest->running() ? "running" : "paused";
        session->owner_ = GuestOwner::kSource;
        MIGRATE_ASSIGN(session->live_,
                       LiveSource::create(*guest, source, session->config_.dirty_tracker));
        if (session->config_.verify) MIGRATE_TRY(session->live_->watch_given_back());
    }
    MIGRATE_TRY(session->prepare_devices());
    MIGRATE_ASSIGN(session->scanners_, ScannerSet::create(session->config_, source));
    if (session->config_.detection == ZeroPageDetection::kLegacy) {
        session->legacy_feed_ = std::make_unique<LegacyFeed>(
            kLegacyPacketsPerChannel * session->config_.channels, session->config_.packet_bytes);
    }
    return session;
}

Status SendSession::run() {
    core_.start_clock();
    core_.set_status(MigrationStatus::kSetup);
    Status status = migrate();
    status = settle(std::move(status));
    core_.conclude(status);
    return status;
}

// Ends all threads, and gives the guest back if it is not the receiver's.
Status SendSession::settle(Status result) {
    Cancellation& cancellation = core_.cancellation();
    if (!result) cancellation.fail_unless_stopped(result.error());
    stop_workers();
    const bool ours = live_ && !live_->handed_over();
    // A guest that is surely ours does not stand still for the connection's end.
    Status given_back = ours ? live_->give_back() : Status();
    if (link_) link_->finish();
    if (!result) {
        cancellation.confirm_lost();
        cancellation.fail(std::move(result).error());
    }
    Status status = core_.outcome();
    if (!live_) return status;
    if (!ours && !status) status = settle_handed_over(std::move(status));
    if (ours && !status) status = explain(std::move(status), std::move(given_back));
    const std::scoped_lock lock(mutex_);
    guest_state_ = status ? "postmigrate" : live_->guest_runs() ? "running" : "paused";
    if (!status && status.error().kind() == ErrorKind::kOwnerUnknown) {
        owner_ = GuestOwner::kUnknown;
    }
    return status;
}

// Of a failure after the line was crossed.
Status SendSession::settle_handed_over(Status status) {
    const std::optional<bool> runs_there = link_->peer_runs_guest();
    if (runs_there == false) {
        {
            const std::scoped_lock lock(mutex_);
            live_->take_back();
            owner_ = GuestOwner::kSource;
        }
        return explain(std::move(status), live_->give_back());
    }
    Status kept = live_->give_back();
    if (!kept) log::error("{}", kept.error().message());
    if (runs_there == true || owner() == GuestOwner::kDestination) {
        const std::scoped_lock lock(mutex_);
        owner_ = GuestOwner::kDestination;
        return std::move(status).error().with_context(
            "the guest was handed over and runs at the destination, but the receiver failed "
            "afterwards; it is kept paused here");
    }
    return std::move(status)
        .error()
        .with_context(
            "the guest was handed over, but the receiver did not confirm that it runs; it is kept "
            "paused here: look at the destination, and let the guest run on one side only")
        .as(ErrorKind::kOwnerUnknown);
}

// The migration's error, and what was found about the guest when it was given back.
Status SendSession::explain(Status status, Status given_back) const {
    Error error = std::move(status).error();
    const std::string disturbance = live_->disturbance();
    if (!disturbance.empty() && error.message().find(disturbance) == std::string::npos) {
        error = Error(
            error.kind() == ErrorKind::kCancelled ? ErrorKind::kCancelled : ErrorKind::kFailed,
            fmt::format("{} ({})", disturbance, error.message()));
    }
    if (given_back || given_back.error().message() == error.message()) return error;
    return Error(given_back.error().kind() == ErrorKind::kOwnerUnknown ? ErrorKind::kOwnerUnknown
                                                                       : error.kind(),
                 fmt::format("{}; {}", error.message(), given_back.error().message()));
}

Status SendSession::migrate() {
    MIGRATE_TRY(negotiate());
    MIGRATE_TRY(connect_channels());
    core_.activate();
    if (live_) return migrate_live();
    return migrate_image(total_bytes(source_.regions()) / kPageSize);
}

Status SendSession::negotiate() {
    const std::stop_token stop = core_.token();
    MIGRATE_ASSIGN(UniqueFd fd,
                   transport::connect_to(config_.connect, config_.connect_timeout, stop));
    MIGRATE_ASSIGN(transport::Socket socket,
                   transport::Socket::adopt(
                       std::move(fd), static_cast<std::uint64_t>(config_.io_timeout.count())));
    MIGRATE_ASSIGN(auto control, transport::ControlChannel::create(std::move(socket)));
    transport::Offer offer{.program = fmt::format("migrate {}", kVersion),
                           .regions = {source_.regions().begin(), source_.regions().end()},
                           .channels = config_.channels,
                           .packet_bytes = config_.packet_bytes,
                           .compression = config_.compression,
                           .verify = config_.verify,
                           .guest = guest_kind_,
                           .journey = config_.journey};
    offer_devices(offer);
    const transport::HelloBytes hello =
        transport::encode_hello({.role = transport::ConnectionRole::kMain});
    std::string opening(reinterpret_cast<const char*>(hello.data()), hello.size());
    opening += transport::encode_frame(FrameType::kOffer, transport::encode(offer));
    Status opened = control->send_raw(std::as_bytes(std::span(opening)));
    if (!opened) return std::move(opened).error().with_context("main channel");
    auto link = std::make_unique<PeerLink>(std::move(control), config_.io_timeout, "return_path",
                                           core_.times(), core_.cancellation());
    {
        const std::scoped_lock lock(mutex_);
        link_ = std::move(link);
    }
    MIGRATE_ASSIGN(const transport::Frame frame,
                   link_->expect({FrameType::kAccept}, config_.handshake_timeout));
    MIGRATE_ASSIGN(transport::Accept accepted, transport::decode_accept(frame.body));
    MIGRATE_TRY(check_device_answer(offer, accepted));
    log::info("connected to {} ({}, sink {})", link_->peer_name(), accepted.program, accepted.sink);
    const std::scoped_lock lock(mutex_);
    accepted_ = std::move(accepted);
    return {};
}

Status SendSession::connect_channels() {
    MIGRATE_ASSIGN(auto connections,
                   transport::connect_alike(link_->fd(), config_.channels, config_.connect_timeout,
                                            core_.token()));
    for (std::uint16_t i = 0; i < config_.channels; ++i) {
        MIGRATE_ASSIGN(
            transport::Socket socket,
            transport::Socket::adopt(std::move(connections[i]),
                                     static_cast<std::uint64_t>(config_.io_timeout.count())));
        MIGRATE_TRY(socket.share_path(config_.channels));
        std::unique_ptr<transport::Compressor> compressor;
        if (config_.compression != transport::Compression::kNone) {
            MIGRATE_ASSIGN(compressor, transport::Compressor::create(config_.compression,
                                                                     config_.compression_level,
                                                                     config_.packet_bytes));
        }
        auto channel = std::make_unique<SendChannel>(ChannelId{i}, std::move(socket),
                                                     std::move(compressor), pacer_);
        if (live_ && live_->tracker().needs_sent()) {
            channel->send_copies([this](RegionId region, const std::byte* from, auto copy) {
                const std::byte* begin = source_.memory(region).data();
                const auto first = static_cast<std::uint64_t>(from - begin) / kPageSize;
                live_->tracker().sent(region, {first, copy.size() / kPageSize}, copy);
            });
        }
        MIGRATE_TRY(channel->send_hello(accepted_.session));
        const std::scoped_lock lock(mutex_);
        channels_.push_back(std::move(channel));
    }
    start_workers();
    MIGRATE_ASSIGN(const transport::Frame ready,
                   link_->expect({FrameType::kReady}, config_.handshake_timeout));
    core_.events().emit("MULTIFD_CONNECTED", {{"channels", std::uint64_t{config_.channels}}});
    return {};
}

void SendSession::start_workers() {
    scanners_->start(core_.times(), core_.cancellation());
    for (std::size_t i = 0; i < channels_.size(); ++i) {
        SpanScanner* scanner = legacy_feed_ ? nullptr : &scanners_->scanner(i);
        workers_.push_back(std::make_unique<SessionThread>(
            fmt::format("multifdsend_{}", i), core_.times(), core_.cancellation(),
            [this, channel = channels_[i].get(), scanner] { return work(*channel, scanner); }));
    }
}

// Ends the workers: after a failure by waking whatever they wait for, after success they are at the
// gate.
void SendSession::stop_workers() {
    gate_.close();
    workers_.clear();
    if (devices_) devices_->join();
    if (scanners_) scanners_->stop();
}

Status SendSession::work(SendChannel& channel, SpanScanner* scanner) {
    const std::stop_token stop = core_.token();
    const std::stop_callback wake(stop, [&channel] { channel.shutdown(); });
    std::uint32_t done = 0;
    while (const auto round = gate_.next_round(done, stop)) {
        MIGRATE_TRY(scanner != nullptr ? send_pulled(channel, *scanner, *round)
                                       : send_handed_over(channel, *round));
        if (stop.stop_requested()) break;
        MIGRATE_TRY(channel.send_sync(*round));
        done = *round;
        gate_.arrive();
    }
    return {};
}

namespace {

// Puts a run into packets, calling `full` whenever one has to go out first.
template <typename Full>
Status pack(transport::PacketBuilder*& packet, RegionId region, PageRun run,
            const std::byte* content, const Full& full) {
    while (run.pages.count != 0) {
        const std::uint64_t taken = packet->add(region, run, content);
        run.pages = {run.pages.first + taken, run.pages.count - taken};
        content += taken * kPageSize;
        if (taken == 0 || packet->full()) MIGRATE_TRY(full());
    }
    return {};
}

}  // namespace

void SendSession::classify(RegionId region, const PageRun& run) {
    transport::PageCounts counts;
    counts.add(run);
    classified_.add(counts);
    if (live_) live_->note_sent(region, run);
}

DirtyPages SendSession::dirty_of(RegionId region) const {
    if (full_round_) return {};
    const std::size_t index = index_of(region);
    const auto given_back = live_->given_back();
    return {&live_->dirty()[index], given_back.empty() ? nullptr : &given_back[index]};
}

// multifd, none: the worker claims, scans and sends.
Status SendSession::send_pulled(SendChannel& channel, SpanScanner& scanner, std::uint32_t round) {
    const std::stop_token stop = core_.token();
    transport::PacketBuilder builder(config_.packet_bytes);
    transport::PacketBuilder* packet = &builder;
    DeviceSender* devices = channel_devices_;
    const auto send = [&]() -> Status {
        MIGRATE_TRY(channel.send(*packet, round, stop));
        // In turn, so that neither memory nor devices wait for all of the other.
        return devices != nullptr ? devices->send_one(channel, round, stop) : Status();
    };
    const auto emit = [&](RegionId region, const PageRun& run, const std::byte* content) -> Status {
        if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
        classify(region, run);
        return pack(packet, region, run, content, send);
    };
    scanner.before_reuse([&] { return packet->payload().empty() ? Status() : send(); });
    while (const auto span = cursor_->claim()) {
        MIGRATE_TRY(scanner.scan(*span, dirty_of(span->region), emit));
    }
    MIGRATE_TRY(scanner.finish(emit));
    if (!packet->empty()) MIGRATE_TRY(send());
    return devices != nullptr ? devices->send_rest(channel, round, stop) : Status();
}

Status SendSession::send_handed_over(SendChannel& channel, std::uint32_t round) {
    const std::stop_token stop = core_.token();
    while (LegacyFeed::Packet packet = legacy_feed_->take_filled(stop)) {
        MIGRATE_TRY(channel.send(*packet, round, stop));
        legacy_feed_->give_back(std::move(packet));
    }
    return {};
}

// legacy: this thread scans everything and hands packets over.
Status SendSession::feed_legacy() {
    const std::stop_token stop = core_.token();
    const Error cancelled(ErrorKind::kCancelled, "cancelled");
    LegacyFeed::Packet held = legacy_feed_->take_empty(stop);
    if (!held) return cancelled;
    transport::PacketBuilder* packet = held.get();
    const auto hand_over = [&]() -> Status {
        legacy_feed_->hand_over(std::move(held));
        held = legacy_feed_->take_empty(stop);
        packet = held.get();
        return held ? Status() : Status(cancelled);
    };
    const auto emit = [&](RegionId region, const PageRun& run, const std::byte* content) -> Status {
        if (stop.stop_requested()) return cancelled;
        classify(region, run);
        return pack(packet, region, run, content, hand_over);
    };
    while (const auto span = cursor_->claim()) {
        MIGRATE_TRY(scanners_->scanner(0).scan(*span, dirty_of(span->region), emit));
    }
    MIGRATE_TRY(scanners_->scanner(0).finish(emit));
    if (packet->empty()) {
        legacy_feed_->give_back(std::move(held));
    } else {
        legacy_feed_->hand_over(std::move(held));
    }
    legacy_feed_->end_round();
    return {};
}

Status SendSession::run_round(std::uint32_t round, std::uint64_t pages) {
    const transport::PageCounts before = classified_.get();
    cursor_ = std::make_unique<WorkCursor>(source_.regions(), config_.channels);
    if (legacy_feed_) legacy_feed_->begin_round();
    const std::string mark = transport::encode(transport::RoundMark{round, pages});
    MIGRATE_TRY(link_->send(FrameType::kRoundStart, mark));
    core_.events().emit("MIGRATION_PASS", {{"pass", std::uint64_t{round}}});
    gate_.open(round);
    if (legacy_feed_) MIGRATE_TRY(feed_legacy());
    MIGRATE_TRY(await_workers(round));
    const std::uint64_t sent = classified_.get().total() - before.total();
    if (sent != pages) {
        return make_error("round {} was to send {} pages and sent {}", round, pages, sent);
    }
    {
        const std::scoped_lock lock(mutex_);
        planned_pages_ += pages;
    }
    return link_->send(FrameType::kRoundEnd, mark);
}

// A live migration's deadline does not wait for the end of a round that may take long.
Status SendSession::await_workers(std::uint32_t round) {
    const std::stop_token stop = core_.token();
    std::optional<Clock::time_point> until;
    const Tunables now = tunables();
    if (live_ && core_.status() == MigrationStatus::kActive && now.deadline.count() != 0 &&
        now.on_deadline == OnDeadline::kCancel) {
        until = Clock::now() + (now.deadline - core_.active_time());
    }
    if (gate_.wait_for_all(stop, until)) return {};
    if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
    return make_error(ErrorKind::kTimeout, "the deadline of {} ms has passed in round {}: {}",
                      now.deadline.count() / 1000, round,
                      last_reason_.empty() ? "no round has ended yet" : last_reason_);
}

// The totals, and the digests if they were agreed on.
Status SendSession::make_completion(transport::Completion& completion) {
    completion.pages = sent_pages();
    if (!config_.verify) return {};
    MIGRATE_ASSIGN(const auto digests,
                   memory::digest_source(source_, std::max(1U, std::thread::hardware_concurrency()),
                                         core_.token()));
    for (const memory::Digest& digest : digests) completion.digests.push_back(digest.hex());
    return {};
}

Result<transport::Done> SendSession::await_done(const transport::Completion& completion) {
    MIGRATE_ASSIGN(const transport::Frame frame, link_->expect({FrameType::kDone}, std::nullopt));
    {
        const std::scoped_lock lock(mutex_);
        if (live_) owner_ = GuestOwner::kDestination;
    }
    MIGRATE_ASSIGN(transport::Done done, transport::decode_done(frame.body));
    if (done.pages != completion.pages) {
        return make_error(ErrorKind::kProtocol,
                          "the receiver counted {} normal, {} zero and {} unpopulated pages; {}, "
                          "{} and {} were sent",
                          done.pages.normal, done.pages.zero, done.pages.unpopulated,
                          completion.pages.normal, completion.pages.zero,
                          completion.pages.unpopulated);
    }
    const std::scoped_lock lock(mutex_);
    digests_ = completion.digests;
    return done;
}

transport::PageCounts SendSession::sent_pages() const {
    transport::PageCounts pages;
    for (const auto& channel : channels_) pages += channel->counters().pages.get();
    return pages;
}

std::uint64_t SendSession::channel_bytes() const {
    std::uint64_t bytes = 0;
    for (const auto& channel : channels_) bytes += channel->bytes();
    return bytes;
}

void SendSession::cancel(const std::string& reason) {
    // Under the mutex: hand_over() looks at the cancellation and crosses the line in one step.
    const std::scoped_lock lock(mutex_);
    if (live_ && live_->handed_over()) {
        log::warning("{}: too late, the guest was handed over", reason);
        return;
    }
    core_.cancellation().fail(Error(ErrorKind::kCancelled, reason));
}

GuestOwner SendSession::owner() const {
    const std::scoped_lock lock(mutex_);
    return owner_;
}

Report SendSession::report() const {
    const std::scoped_lock lock(mutex_);
    Report report;
    report.side = "send";
    core_.fill(report);
    report.memory = source_.description();
    report.settings = {
        {"multifd-channels", std::to_string(config_.channels)},
        {"multifd-packet-size", std::to_string(config_.packet_bytes)},
        {"multifd-compression", std::string(transport::name_of(config_.compression))},
        {"zero-page-detection", std::string(name_of(config_.detection))},
        {"zero-kernel", scanners_->kernel_name()},
        {"multifd-normal-page-ratio",
         config_.normal_page_ratio ? std::to_string(*config_.normal_page_ratio) : "off"},
        {"skip-unpopulated", config_.skip_unpopulated ? "on" : "off"},
        {"verify", config_.verify ? "digest" : "none"},
        {"max-bandwidth", std::to_string(tunables_.max_bandwidth)},
    };
    if (!accepted_.sink.empty()) {
        report.settings.emplace_back("sink", accepted_.sink);
        report.settings.emplace_back("multifd-device-state", accepted_.device_state ? "on" : "off");
    }
    if (devices_) report.devices = devices_->report();
    if (!live_) report.downtime = downtime_;
    report.total_bytes = total_bytes(source_.regions());
    report.pages = classified_.get();
    if (link_) {
        report.peer = link_->peer_name();
        add_channel(report, main_channel_report(link_->bytes_sent()));
    }
    for (const auto& channel : channels_) {
        add_channel(report, channel_report(channel->id(), channel->bytes(), channel->counters()));
    }
    report.digests = digests_;
    report.planned_pages = planned_pages_;
    report.accel = scanners_->accel_report();
    if (live_) add_guest(report);
    return report;
}

}  // namespace migrate::engine
