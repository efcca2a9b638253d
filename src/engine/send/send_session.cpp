// SPDX-License-Identifier: Apache-2.0
#include "engine/send/send_session.hpp"

#include "base/log.hpp"
#include "engine/send/live_migration.hpp"
#include "engine/send/round_watches.hpp"
#include "engine/send/send_report.hpp"

namespace migrate::engine {

using transport::FrameType;

SendSession::SendSession(SendConfig config, const memory::PageSource& source, EventLog& events)
    : config_(std::move(config)),
      source_(source),
      core_(events, published_.part(&SendFigures::session), config_.cpu),
      pacer_(config_.tunables.max_bandwidth),
      paths_(config_) {}

SendSession::~SendSession() {
    // The text is short enough to need no heap memory.
    core_.cancellation().fail(Error(ErrorKind::kCancelled, "session ended"));
    end_threads();
}

Result<std::unique_ptr<SendSession>> SendSession::create(SendConfig config,
                                                         const memory::PageSource& source,
                                                         EventLog& events, guest::Guest* guest) {
    if (const auto buffer = config.negotiated.get<"multifd-socket-buffer">();
        buffer != kAutoSocketBuffer) {
        MIGRATE_TRY(transport::check_socket_buffer(transport::BufferSide::kSends, buffer));
    }
    MIGRATE_TRY(check_cpus(config.cpu));
    MIGRATE_TRY(check_paths(config.paths));
    std::unique_ptr<SendSession> session(new SendSession(std::move(config), source, events));
    MIGRATE_TRY(session->prepare(guest));
    return session;
}

Status SendSession::prepare(guest::Guest* guest) {
    MIGRATE_TRY(postcopy_.check(guest));
    if (guest != nullptr) {
        if (config_.negotiated.verify() && !guest->can_stand_still()) {
            return make_error(
                ErrorKind::kUsage,
                "verify=digest needs a guest that is paused for the last round, and pause=none "
                "never pauses it: use pause=sigstop, pause=freezer or verify=none");
        }
        published_.lock()->guest_state = guest->running() ? "running" : "paused";
        published_.lock()->owner = GuestOwner::kSource;
        MIGRATE_ASSIGN(live_,
                       LiveSource::create(*guest, source_, config_.dirty_tracker, core_.token()));
        published_.lock()->cpu_opened = sample_guest_cpu(*live_);
        if (config_.negotiated.verify()) MIGRATE_TRY(live_->watch_given_back());
    }
    custody_ = std::make_unique<GuestCustody>(live_.get(), published_, core_.cancellation());
    control_ =
        std::make_unique<LiveControl>(config_.tunables, pacer_, core_, published_, *custody_);
    MIGRATE_ASSIGN(devices_, SendDevices::create(config_, live_.get()));
    MIGRATE_ASSIGN(scanners_, ScannerSet::create(config_, source_));
    return {};
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

Status SendSession::migrate() {
    if (live_) MIGRATE_TRY(watch_guest());
    MIGRATE_ASSIGN(const Agreement agreement, agree());
    MIGRATE_ASSIGN(const Microseconds answer, open_channels(agreement));
    RoundSender rounds(core_, published_, *control_, *link_, *channels_);
    rounds.note_answer(answer);
    const RoundWatches watches(
        {{config_, agreement, *link_, *channels_, core_, paths_}, published_, *control_},
        source_.regions(), answer, rounds);
    ReuseQuery reuse({source_, live_.get(), *link_, pacer_, published_, core_.token()},
                     agreement.reuse_key);
    const SendParts parts{config_,   source_, core_,      published_, *control_, *custody_,
                          *devices_, *link_,  *channels_, rounds,     reuse,     postcopy_};
    core_.activate();
    return live_ ? migrate_live(parts) : migrate_image(parts);
}

Status SendSession::watch_guest() {
    MIGRATE_ASSIGN(
        watcher_,
        GuestWatcher::start({.alarm = live_->alarm(),
                             .check = [this] { return live_->check_alive(); },
                             .fail = [this](Error ended) { custody_->cancel(std::move(ended)); }},
                            core_.times(), core_.cancellation()));
    return {};
}

Result<Agreement> SendSession::agree() {
    const transport::Offer offer = make_offer(config_, source_, live_.get(), *devices_);
    MIGRATE_ASSIGN(link_, connect_link(config_, paths_, offer, core_));
    published_.lock()->link = link_.get();
    MIGRATE_ASSIGN(Agreement agreement, negotiate(*link_, config_, live_ != nullptr, *devices_));
    core_.agreed(agreement.accepted.session);
    postcopy_.agreed(agreement.accepted.session);
    const auto published = published_.lock();
    published->sink = agreement.accepted.sink;
    published->device_state = agreement.accepted.device_state;
    return agreement;
}

// Connects the channels and starts their threads; returns the round trip that READY took.
Result<Microseconds> SendSession::open_channels(const Agreement& agreement) {
    MIGRATE_ASSIGN(auto sockets, paths_.connect_channels(agreement.times, core_.token()));
    MIGRATE_ASSIGN(
        channels_,
        SendChannelGroup::create(
            std::move(sockets), agreement.accepted.session,
            {config_, *scanners_, pacer_, live_.get(), core_.times(), core_.cancellation(),
             core_.budget(), place_channels(config_.cpu, source_), agreement.checksums,
             changing_regions(source_, *scanners_, live_ != nullptr), &paths_}));
    published_.lock()->channels = channels_.get();
    const auto asked = std::chrono::steady_clock::now();
    MIGRATE_TRY(scanners_->start(core_.times(), core_.cancellation()));
    MIGRATE_TRY(channels_->start());
    MIGRATE_ASSIGN(const transport::Frame frame,
                   link_->expect({FrameType::kReady}, config_.handshake_timeout));
    const auto waited = std::chrono::ceil<Microseconds>(std::chrono::steady_clock::now() - asked);
    MIGRATE_ASSIGN(const transport::Ready ready, transport::decode_ready(frame.body));
    log::info("connected to {} ({}, sink {}): {}", link_->peer_name(), agreement.accepted.program,
              agreement.accepted.sink, link_->security().text());
    const Microseconds answer = round_trip_of(waited, ready);
    core_.events().emit("MULTIFD_CONNECTED", {{"channels", std::uint64_t{channels_->count()}}});
    return answer;
}

Status SendSession::migrate_live(const SendParts& parts) {
    MIGRATE_TRY(control_->start_timer());
    return engine::migrate_live(parts, *live_);
}

// After a failure the stop wakes the threads, after success they wait at the gate.
void SendSession::end_threads() {
    watcher_.reset();
    if (control_) control_->stop_timer();
    // The link's thread uses the channels no more.
    if (link_) static_cast<void>(link_->fail_on_loss());
    if (channels_) channels_->finish();
    if (devices_) devices_->join();
    if (scanners_) scanners_->stop();
}

// Ends all threads, and resumes the guest if it does not belong to the receiver.
Status SendSession::settle(Status result) {
    Cancellation& cancellation = core_.cancellation();
    if (!result) cancellation.fail_unless_stopped(result.error());
    end_threads();
    // A guest that certainly belongs to this side resumes before the link ends.
    custody_->restore();
    if (link_) link_->finish();
    if (!result) {
        cancellation.confirm_lost();
        cancellation.fail(std::move(result).error());
    }
    const auto runs_there = link_ ? link_->peer_runs_guest() : std::nullopt;
    // The guest has all that it needs, whatever happened to the main channel.
    const bool moved = postcopy_.finish(core_.outcome(), runs_there);
    if (moved) custody_->arrived();
    return custody_->settle(moved ? Status() : core_.outcome(), runs_there);
}

void SendSession::cancel(const std::string& reason) {
    if (custody_->cancel(Error(ErrorKind::kCancelled, reason))) return;
    log::warning("{}: cannot cancel, the guest was already handed over{}", reason,
                 postcopy_.warning());
}

Status SendSession::start_postcopy() {
    if (!postcopy_.is_allowed()) {
        return Error("post-copy was not allowed: start the sender with --postcopy manual");
    }
    control_->start_postcopy();
    return {};
}

Report SendSession::report() const {
    return make_send_report({config_, source_, core_, *scanners_, live_.get()}, *published_.lock());
}

}  // namespace migrate::engine
