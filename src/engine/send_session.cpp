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

constexpr std::uint32_t kFirstRound = 1;
// Packets that circulate for each channel in legacy mode: one being sent, one waiting.
constexpr std::size_t kLegacyPacketsPerChannel = 2;

}  // namespace

SendSession::SendSession(SendConfig config, const memory::PageSource& source, EventLog& events)
    : config_(std::move(config)),
      source_(source),
      events_(events),
      pacer_(config_.max_bandwidth),
      gate_(config_.channels) {}

SendSession::~SendSession() {
    cancellation_.fail(Error(ErrorKind::kCancelled, "the session ended"));
    stop_workers();
}

Result<std::unique_ptr<SendSession>> SendSession::create(SendConfig config,
                                                         const memory::PageSource& source,
                                                         EventLog& events) {
    std::unique_ptr<SendSession> session(new SendSession(std::move(config), source, events));
    MIGRATE_TRY(session->make_scanners());
    return session;
}

Status SendSession::make_scanners() {
    const bool legacy = config_.detection == ZeroPageDetection::kLegacy;
    const SpanScanner::Options options{.skip_unpopulated = config_.skip_unpopulated,
                                       .normal_page_ratio = config_.normal_page_ratio,
                                       .batch_pages = config_.packet_bytes / kPageSize};
    for (unsigned i = 0; i < (legacy ? 1U : config_.channels); ++i) {
        std::unique_ptr<accel::PageScanner> scanner;
        if (config_.detection != ZeroPageDetection::kNone) {
            MIGRATE_ASSIGN(scanner, accel::make_cpu_page_scanner(config_.zero_kernel));
            kernel_name_ = scanner->name();
        }
        scanners_.push_back(std::make_unique<SpanScanner>(source_, std::move(scanner), options));
    }
    if (legacy) {
        legacy_feed_ = std::make_unique<LegacyFeed>(kLegacyPacketsPerChannel * config_.channels,
                                                    config_.packet_bytes);
    }
    return {};
}

void SendSession::set_status(MigrationStatus status) {
    status_.advance(status);
    events_.emit("MIGRATION", {{"status", std::string(name_of(status))}});
}

Status SendSession::run() {
    {
        const std::scoped_lock lock(mutex_);
        started_ = Clock::now();
    }
    set_status(MigrationStatus::kSetup);
    Status status = migrate();
    if (!status) cancellation_.fail(std::move(status).error());
    stop_workers();
    if (link_) link_->finish();
    // The first error, which may be another thread's, is the session's.
    const std::optional<Error> error = cancellation_.error();
    status = error ? Status(*error) : Status();
    conclude(status);
    return status;
}

Status SendSession::migrate() {
    MIGRATE_TRY(negotiate());
    MIGRATE_TRY(connect_channels());
    {
        const std::scoped_lock lock(mutex_);
        active_ = Clock::now();
    }
    set_status(MigrationStatus::kActive);
    MIGRATE_TRY(run_round(kFirstRound));
    return complete();
}

Status SendSession::negotiate() {
    const std::stop_token stop = cancellation_.token();
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
                           .verify = config_.verify};
    const transport::HelloBytes hello =
        transport::encode_hello({.role = transport::ConnectionRole::kMain});
    std::string opening(reinterpret_cast<const char*>(hello.data()), hello.size());
    opening += transport::encode_frame(FrameType::kOffer, transport::encode(offer));
    Status opened = control->send_raw(std::as_bytes(std::span(opening)));
    if (!opened) return std::move(opened).error().with_context("main channel");
    auto link = std::make_unique<PeerLink>(std::move(control), config_.io_timeout, "return_path",
                                           times_, cancellation_);
    {
        const std::scoped_lock lock(mutex_);
        link_ = std::move(link);
    }
    MIGRATE_ASSIGN(const transport::Frame frame,
                   link_->expect({FrameType::kAccept}, config_.handshake_timeout));
    MIGRATE_ASSIGN(transport::Accept accepted, transport::decode_accept(frame.body));
    log::info("connected to {} ({}, sink {})", link_->peer_name(), accepted.program, accepted.sink);
    const std::scoped_lock lock(mutex_);
    accepted_ = std::move(accepted);
    return {};
}

Status SendSession::connect_channels() {
    MIGRATE_ASSIGN(auto connections,
                   transport::connect_alike(link_->fd(), config_.channels, config_.connect_timeout,
                                            cancellation_.token()));
    for (std::uint16_t i = 0; i < config_.channels; ++i) {
        MIGRATE_ASSIGN(
            transport::Socket socket,
            transport::Socket::adopt(std::move(connections[i]),
                                     static_cast<std::uint64_t>(config_.io_timeout.count())));
        std::unique_ptr<transport::Compressor> compressor;
        if (config_.compression != transport::Compression::kNone) {
            MIGRATE_ASSIGN(compressor, transport::Compressor::create(config_.compression,
                                                                     config_.compression_level,
                                                                     config_.packet_bytes));
        }
        auto channel = std::make_unique<SendChannel>(ChannelId{i}, std::move(socket),
                                                     std::move(compressor), pacer_);
        MIGRATE_TRY(channel->send_hello(accepted_.session));
        const std::scoped_lock lock(mutex_);
        channels_.push_back(std::move(channel));
    }
    start_workers();
    MIGRATE_ASSIGN(const transport::Frame ready,
                   link_->expect({FrameType::kReady}, config_.handshake_timeout));
    events_.emit("MULTIFD_CONNECTED", {{"channels", std::uint64_t{config_.channels}}});
    return {};
}

void SendSession::start_workers() {
    for (std::size_t i = 0; i < channels_.size(); ++i) {
        SpanScanner* scanner = legacy_feed_ ? nullptr : scanners_[i].get();
        workers_.push_back(std::make_unique<SessionThread>(
            fmt::format("multifdsend_{}", i), times_, cancellation_,
            [this, channel = channels_[i].get(), scanner] { return work(*channel, scanner); }));
    }
}

// Ends the workers: after a failure by waking whatever they wait for, after success they are at the
// gate.
void SendSession::stop_workers() {
    gate_.close();
    workers_.clear();
}

Status SendSession::work(SendChannel& channel, SpanScanner* scanner) {
    const std::stop_token stop = cancellation_.token();
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

// multifd, none: the worker claims, scans and sends.
Status SendSession::send_pulled(SendChannel& channel, SpanScanner& scanner, std::uint32_t round) {
    const std::stop_token stop = cancellation_.token();
    transport::PacketBuilder builder(config_.packet_bytes);
    transport::PacketBuilder* packet = &builder;
    const auto send = [&] { return channel.send(*packet, round, stop); };
    const auto emit = [&](RegionId region, const PageRun& run, const std::byte* content) -> Status {
        if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
        transport::PageCounts counts;
        counts.add(run);
        classified_.add(counts);
        return pack(packet, region, run, content, send);
    };
    while (const auto span = cursor_->claim()) MIGRATE_TRY(scanner.scan(*span, emit));
    return packet->empty() ? Status() : send();
}

Status SendSession::send_handed_over(SendChannel& channel, std::uint32_t round) {
    const std::stop_token stop = cancellation_.token();
    while (LegacyFeed::Packet packet = legacy_feed_->take_filled(stop)) {
        MIGRATE_TRY(channel.send(*packet, round, stop));
        legacy_feed_->give_back(std::move(packet));
    }
    return {};
}

// legacy: this thread scans everything and hands packets over.
Status SendSession::feed_legacy() {
    const std::stop_token stop = cancellation_.token();
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
        transport::PageCounts counts;
        counts.add(run);
        classified_.add(counts);
        return pack(packet, region, run, content, hand_over);
    };
    while (const auto span = cursor_->claim()) MIGRATE_TRY(scanners_.front()->scan(*span, emit));
    if (packet->empty()) {
        legacy_feed_->give_back(std::move(held));
    } else {
        legacy_feed_->hand_over(std::move(held));
    }
    legacy_feed_->end_round();
    return {};
}

Status SendSession::run_round(std::uint32_t round) {
    cursor_ = std::make_unique<WorkCursor>(source_.regions(), config_.channels);
    if (legacy_feed_) legacy_feed_->begin_round();
    MIGRATE_TRY(
        link_->send(FrameType::kRoundStart, transport::encode(transport::RoundMark{round})));
    events_.emit("MIGRATION_PASS", {{"pass", std::uint64_t{round}}});
    gate_.open(round);
    if (legacy_feed_) MIGRATE_TRY(feed_legacy());
    if (!gate_.wait_for_all(cancellation_.token()))
        return Error(ErrorKind::kCancelled, "cancelled");
    return link_->send(FrameType::kRoundEnd, transport::encode(transport::RoundMark{round}));
}

Status SendSession::complete() {
    transport::Completion completion;
    completion.pages = sent_pages();
    if (config_.verify) {
        MIGRATE_ASSIGN(
            const auto digests,
            memory::digest_source(source_, std::max(1U, std::thread::hardware_concurrency()),
                                  cancellation_.token()));
        for (const memory::Digest& digest : digests) completion.digests.push_back(digest.hex());
    }
    // Nothing follows COMPLETE, so that both sides' byte counts end with it.
    link_->stop_sending_heartbeats();
    MIGRATE_TRY(link_->send(FrameType::kComplete, transport::encode(completion)));
    MIGRATE_ASSIGN(const transport::Frame frame, link_->expect({FrameType::kDone}, std::nullopt));
    MIGRATE_ASSIGN(const transport::Done done, transport::decode_done(frame.body));
    if (done.pages != completion.pages) {
        return make_error(ErrorKind::kProtocol,
                          "the receiver counted {} normal, {} zero and {} unpopulated pages; {}, "
                          "{} and {} were sent",
                          done.pages.normal, done.pages.zero, done.pages.unpopulated,
                          completion.pages.normal, completion.pages.zero,
                          completion.pages.unpopulated);
    }
    const std::scoped_lock lock(mutex_);
    digests_ = std::move(completion.digests);
    return {};
}

transport::PageCounts SendSession::sent_pages() const {
    transport::PageCounts pages;
    for (const auto& channel : channels_) pages += channel->counters().pages.get();
    return pages;
}

void SendSession::conclude(const Status& status) {
    {
        const std::scoped_lock lock(mutex_);
        ended_ = Clock::now();
        if (!status) error_desc_ = status.error().message();
    }
    if (status) {
        set_status(MigrationStatus::kCompleted);
    } else if (status.error().kind() == ErrorKind::kCancelled) {
        set_status(MigrationStatus::kCancelling);
        set_status(MigrationStatus::kCancelled);
    } else {
        set_status(MigrationStatus::kFailed);
    }
}

void SendSession::cancel(const std::string& reason) {
    cancellation_.fail(Error(ErrorKind::kCancelled, reason));
}

Report SendSession::report() const {
    const std::scoped_lock lock(mutex_);
    Report report;
    report.side = "send";
    report.status = status_.get();
    report.error_desc = error_desc_;
    report.memory = source_.description();
    report.settings = {
        {"multifd-channels", std::to_string(config_.channels)},
        {"multifd-packet-size", std::to_string(config_.packet_bytes)},
        {"multifd-compression", std::string(transport::name_of(config_.compression))},
        {"zero-page-detection", std::string(name_of(config_.detection))},
        {"zero-kernel", kernel_name_.empty() ? "none" : kernel_name_},
        {"multifd-normal-page-ratio",
         config_.normal_page_ratio ? std::to_string(*config_.normal_page_ratio) : "off"},
        {"skip-unpopulated", config_.skip_unpopulated ? "on" : "off"},
        {"verify", config_.verify ? "digest" : "none"},
        {"max-bandwidth", std::to_string(config_.max_bandwidth)},
    };
    if (!accepted_.sink.empty()) report.settings.emplace_back("sink", accepted_.sink);
    fill_times(report, {started_, active_, ended_});
    for (const RegionInfo& region : source_.regions()) report.total_bytes += region.size_bytes;
    report.pages = classified_.get();
    if (link_) {
        report.peer = link_->peer_name();
        add_channel(report, main_channel_report(link_->bytes_sent()));
    }
    for (const auto& channel : channels_) {
        add_channel(report, channel_report(channel->id(), channel->bytes(), channel->counters()));
    }
    report.threads = times_.all();
    report.digests = digests_;
    return report;
}

}  // namespace migrate::engine
