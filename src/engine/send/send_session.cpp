#include "engine/send/send_session.hpp"

#include <algorithm>
#include <thread>

#include "base/config/unit_text.hpp"
#include "base/log.hpp"
#include "base/version.hpp"
#include "engine/report/session_report.hpp"
#include "memory/region_digest.hpp"
#include "transport/connector.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {

using transport::FrameType;
using Clock = std::chrono::steady_clock;

namespace {

// Packets that circulate for each channel in legacy mode: one being sent, one waiting.
constexpr std::size_t kLegacyPacketsPerChannel = 2;

unsigned digest_threads() { return std::max(1U, std::thread::hardware_concurrency()); }

}  // namespace

SendSession::SendSession(SendConfig config, const memory::PageSource& source, EventLog& events)
    : config_(std::move(config)),
      source_(source),
      core_(events),
      convergence_(config_.switchover_ack),
      digest_meter_(source, digest_threads()),
      pacer_(config_.tunables.max_bandwidth),
      gate_(config_.negotiated.channels()),
      shared_{.packet_bytes = config_.negotiated.packet_bytes(), .gate = gate_},
      tunables_(config_.tunables) {}

SendSession::~SendSession() {
    // The text is short enough to need no heap memory.
    core_.cancellation().fail(Error(ErrorKind::kCancelled, "session ended"));
    stop_workers();
}

Result<std::unique_ptr<SendSession>> SendSession::create(SendConfig config,
                                                         const memory::PageSource& source,
                                                         EventLog& events, guest::Guest* guest) {
    std::unique_ptr<SendSession> session(new SendSession(std::move(config), source, events));
    if (guest != nullptr) {
        if (session->config_.negotiated.verify() && !guest->can_stand_still()) {
            return make_error(
                ErrorKind::kUsage,
                "a guest that is not paused (pause=none) has no moment that verify=digest "
                "could compare");
        }
        session->guest_kind_ = guest->kind();
        session->guest_state_ = guest->running() ? "running" : "paused";
        session->owner_ = GuestOwner::kSource;
        MIGRATE_ASSIGN(session->live_,
                       LiveSource::create(*guest, source, session->config_.dirty_tracker,
                                          session->core_.token()));
        session->shared_.live = session->live_.get();
        if (session->config_.negotiated.verify()) MIGRATE_TRY(session->live_->watch_given_back());
    }
    MIGRATE_TRY(session->prepare_devices());
    MIGRATE_ASSIGN(session->scanners_, ScannerSet::create(session->config_, source));
    if (session->config_.detection == ZeroPageDetection::kLegacy) {
        session->legacy_feed_ = std::make_unique<LegacyFeed>(
            kLegacyPacketsPerChannel * session->config_.negotiated.channels(),
            session->config_.negotiated.packet_bytes());
        session->shared_.legacy = session->legacy_feed_.get();
    }
    return session;
}

Status SendSession::run() {
    core_.start_clock();
    return core_.run([this] { return migrate(); },
                     [this](Status result) { return settle(std::move(result)); },
                     [this] { return owner(); });
}

Status SendSession::fail(Error reason) {
    core_.start_clock();
    return core_.run([&reason] { return Status(std::move(reason)); },
                     [this](Status result) { return settle(std::move(result)); },
                     [this] { return owner(); });
}

// Ends all threads, and resumes the guest if it does not belong to the receiver.
Status SendSession::settle(Status result) {
    Cancellation& cancellation = core_.cancellation();
    if (!result) cancellation.fail_unless_stopped(result.error());
    stop_timer();
    stop_workers();
    const bool ours = live_ && !live_->handed_over();
    // A guest that certainly belongs to this side resumes before the link ends.
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

// Settles a failure after hand_over().
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

// Returns the migration's error together with what was found when the guest was given back.
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
    return migrate_image();
}

namespace {

void add_files(const memory::PageSource& source, transport::Offer& offer) {
    offer.boot_id = boot_id();
    for (std::size_t i = 0; i < offer.regions.size(); ++i) {
        offer.files.push_back(source.file_of(RegionId{static_cast<std::uint16_t>(i)}));
    }
}

}  // namespace

Status SendSession::negotiate() {
    const std::stop_token stop = core_.token();
    MIGRATE_ASSIGN(transport::Socket socket,
                   transport::connect_to(config_.connect,
                                         {config_.connect_timeout,
                                          transport::StallLimits::both(config_.io_timeout), stop}));
    MIGRATE_ASSIGN(auto control, transport::ControlChannel::create(std::move(socket)));
    transport::Offer offer{.program = fmt::format("migrate {}", kVersion),
                           .regions = {source_.regions().begin(), source_.regions().end()},
                           .settings = config_.negotiated,
                           .guest = guest_kind_,
                           .journey = config_.journey,
                           .io_timeout = config_.io_timeout};
    offer_devices(offer);
    add_files(source_, offer);
    const transport::HelloBytes hello =
        transport::encode_hello({.role = transport::ConnectionRole::kMain});
    std::string opening(reinterpret_cast<const char*>(hello.data()), hello.size());
    opening += transport::encode_frame(FrameType::kOffer, transport::encode(offer));
    Status opened = control->send_raw(std::as_bytes(std::span(opening)));
    if (!opened) return std::move(opened).error().with_context("main channel");
    MIGRATE_ASSIGN(auto link, PeerLink::create(std::move(control),
                                               {.name = "return_path",
                                                .io_timeout = config_.io_timeout,
                                                .settled = core_.settler()},
                                               core_.times(), core_.cancellation()));
    {
        const std::scoped_lock lock(mutex_);
        link_ = std::move(link);
    }
    MIGRATE_ASSIGN(const transport::Frame frame,
                   link_->expect_while_heard({FrameType::kAccept}, config_.handshake_timeout));
    MIGRATE_ASSIGN(transport::Accept accepted, transport::decode_accept(frame.body));
    link_times_ = make_link_times(config_.io_timeout, accepted.io_timeout);
    link_->agree(link_times_);
    MIGRATE_TRY(check_device_answer(offer, accepted));
    log::info("connected to {} ({}, sink {})", link_->peer_name(), accepted.program, accepted.sink);
    const std::scoped_lock lock(mutex_);
    accepted_ = std::move(accepted);
    return {};
}

Status SendSession::connect_channels() {
    MIGRATE_ASSIGN(const transport::Endpoint peer, link_->peer());
    MIGRATE_ASSIGN(auto connections, transport::connect_alike(peer, config_.negotiated.channels(),
                                                              {config_.connect_timeout,
                                                               link_times_.data, core_.token()}));
    for (std::uint16_t i = 0; i < config_.negotiated.channels(); ++i) {
        transport::Socket& socket = connections[i];
        MIGRATE_TRY(socket.share_path(config_.negotiated.channels()));
        std::unique_ptr<transport::Compressor> compressor;
        if (config_.negotiated.compression() != transport::Compression::kNone) {
            MIGRATE_ASSIGN(compressor,
                           transport::Compressor::create(config_.negotiated.compression(),
                                                         config_.compression_level,
                                                         config_.negotiated.packet_bytes()));
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
    const Clock::time_point asked = Clock::now();
    MIGRATE_TRY(start_workers());
    MIGRATE_ASSIGN(const transport::Frame ready,
                   link_->expect({FrameType::kReady}, config_.handshake_timeout));
    round_trip_.add(std::chrono::ceil<Microseconds>(Clock::now() - asked));
    core_.events().emit("MULTIFD_CONNECTED",
                        {{"channels", std::uint64_t{config_.negotiated.channels()}}});
    return {};
}

Status SendSession::start_workers() {
    MIGRATE_TRY(scanners_->start(core_.times(), core_.cancellation()));
    workers_.reserve(channels_.size());
    for (std::size_t i = 0; i < channels_.size(); ++i) {
        SpanScanner* scanner = legacy_feed_ ? nullptr : &scanners_->scanner(i);
        const auto work = [this, channel = channels_[i].get(), scanner] {
            return SendWorker(*channel, scanner, shared_).run(core_.token());
        };
        MIGRATE_ASSIGN(SessionThread worker,
                       SessionThread::start(fmt::format("multifdsend_{}", i), core_.times(),
                                            core_.cancellation(), work));
        workers_.push_back(std::move(worker));
    }
    return {};
}

// Ends the workers: after a failure the stop wakes them, after success they wait at the gate.
void SendSession::stop_workers() {
    gate_.close();
    workers_.clear();
    if (devices_) devices_->join();
    if (scanners_) scanners_->stop();
}

Status SendSession::run_round(std::uint32_t round, RoundPlan plan) {
    const transport::PageCounts before = sent_pages();
    const std::uint64_t pages = plan.pages();
    shared_.plan.emplace(std::move(plan));
    if (legacy_feed_) legacy_feed_->begin_round();
    const std::string mark = transport::encode(transport::RoundMark{round, pages});
    core_.enter(Stage::kPagesMove);
    MIGRATE_TRY(link_->send(FrameType::kRoundStart, mark));
    announce_pass(round, pages);
    gate_.open(round);
    if (legacy_feed_) {
        MIGRATE_TRY(feed_legacy_round(shared_, scanners_->scanner(0), core_.token()));
    }
    if (!gate_.wait_for_all(core_.token())) return Error(ErrorKind::kCancelled, "cancelled");
    const std::uint64_t sent = sent_pages().total() - before.total();
    if (sent != pages) {
        return make_error("round {} was to send {} pages and sent {}", round, pages, sent);
    }
    {
        const std::scoped_lock lock(mutex_);
        planned_pages_ += pages;
    }
    return link_->send(FrameType::kRoundEnd, mark);
}

// Emits the event of a pass at its start, as QEMU does: what the pass will send, and the figures of
// the last pass.
void SendSession::announce_pass(std::uint32_t round, std::uint64_t pages) {
    const auto whole = [](double value) { return static_cast<std::uint64_t>(value); };
    const auto ms = [](Microseconds time) { return static_cast<std::uint64_t>(whole_ms(time)); };
    std::vector<EventField> fields{{"pass", std::uint64_t{round}},
                                   {"pages", pages},
                                   {"bytes", pages * kPageSize},
                                   {"transferred", link_->bytes_sent() + channel_bytes()}};
    if (std::unique_lock lock(mutex_); !rounds_.empty()) {
        const auto& [figures, decision] = rounds_.back();
        fields.emplace_back("dirty-pages", figures.dirty_pages);
        fields.emplace_back("dirty-pages-rate", whole(figures.dirty_pages_per_second()));
        fields.emplace_back("bandwidth", whole(decision.bandwidth));
        fields.emplace_back("expected-downtime", ms(decision.expected_downtime));
        fields.emplace_back("downtime-limit", ms(decision.downtime_limit));
        fields.emplace_back("cpu-throttle-percentage", std::uint64_t{decision.cpu_throttle});
    }
    core_.events().emit("MIGRATION_PASS", fields);
}

// Fills in the totals, and the digests if they were agreed on.
Status SendSession::make_completion(transport::Completion& completion) {
    MIGRATE_TRY(source_.check_unchanged());
    completion.pages = sent_pages();
    if (!config_.negotiated.verify()) return {};
    MIGRATE_ASSIGN(const auto digests,
                   memory::digest_source(source_, digest_threads(), core_.token()));
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
    // Holds the mutex, since hand_over() checks the cancellation and hands over in one step under
    // it.
    const std::scoped_lock lock(mutex_);
    if (live_ && live_->handed_over()) {
        log::warning("{}: too late, the guest was handed over", reason);
        return;
    }
    core_.cancellation().fail(Error(ErrorKind::kCancelled, reason));
}

GuestOwner SendSession::owner() const {
    const std::scoped_lock lock(mutex_);
    return owner_locked();
}

// Called with mutex_ held.
GuestOwner SendSession::owner_locked() const { return owner_; }

Report SendSession::report() const {
    const std::scoped_lock lock(mutex_);
    Report report;
    report.side = "send";
    core_.fill(report);
    report.guest_owner = owner_locked();
    report.memory = source_.description();
    report.settings = config_.negotiated.report();
    report.settings.insert(
        report.settings.end(),
        {{"zero-page-detection", std::string(name_of(config_.detection))},
         {"zero-kernel", scanners_->kernel_name()},
         {"multifd-normal-page-ratio",
          config_.normal_page_ratio ? std::to_string(*config_.normal_page_ratio) : "off"},
         {"skip-unpopulated", config_.skip_unpopulated ? "on" : "off"},
         {"max-bandwidth", std::to_string(tunables_.max_bandwidth)}});
    if (!accepted_.sink.empty()) {
        report.settings.emplace_back("sink", accepted_.sink);
        report.settings.emplace_back("multifd-device-state", accepted_.device_state ? "on" : "off");
    }
    if (devices_) report.devices = devices_->report();
    if (!live_) report.downtime = downtime_;
    report.total_bytes = total_bytes(source_.regions());
    report.pages = sent_pages();
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
