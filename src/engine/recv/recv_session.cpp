#include "engine/recv/recv_session.hpp"

#include <algorithm>
#include <thread>

#include "base/catching.hpp"
#include "base/log.hpp"
#include "engine/devices/session_devices.hpp"
#include "engine/report/session_report.hpp"
#include "memory/region_digest.hpp"

namespace migrate::engine {

using transport::FrameType;
using Clock = std::chrono::steady_clock;

namespace {

// The load time that the sender is told before a guest is loaded: the time to create its threads.
constexpr Microseconds kTypicalLoadTime{2000};

// Number of helper threads for prefaulting, if there are fewer channels than CPUs.
unsigned prefault_helpers(std::uint16_t channels) {
    const unsigned cpus = std::max(1U, std::thread::hardware_concurrency());
    return cpus > channels ? cpus - channels : 0;
}

}  // namespace

RecvSession::RecvSession(RecvConfig config, EventLog& events)
    : config_(std::move(config)), core_(events) {}

RecvSession::~RecvSession() {
    // The text is short enough to need no heap memory.
    core_.cancellation().fail(Error(ErrorKind::kCancelled, "session ended"));
    stop_workers();
}

Result<std::unique_ptr<RecvSession>> RecvSession::create(
    RecvConfig config, EventLog& events, std::unique_ptr<transport::Listener> listener) {
    std::unique_ptr<RecvSession> session(new RecvSession(std::move(config), events));
    // Opened once now, so that an error of the sink is reported before a sender comes.
    MIGRATE_ASSIGN(session->destination_, guest::open_destination(session->config_.sink));
    session->listener_ = std::move(listener);
    if (session->listener_) return session;
    MIGRATE_ASSIGN(
        session->listener_,
        transport::Listener::create(session->config_.listen, session->config_.handshake_timeout));
    return session;
}

Status RecvSession::run() {
    return core_.run([this] { return migrate(); },
                     [this](Status result) { return settle(std::move(result)); },
                     [this] { return owner(); });
}

Status RecvSession::fail(Error reason) {
    return core_.run([&reason] { return Status(std::move(reason)); },
                     [this](Status result) { return settle(std::move(result)); },
                     [this] { return owner(); });
}

Status RecvSession::settle(Status result) {
    if (!result) core_.cancellation().fail_unless_stopped(result.error());
    stop_workers();
    if (link_) link_->finish();
    if (!result) {
        core_.cancellation().confirm_lost();
        core_.cancellation().fail(result.error());
    }
    Status status = core_.outcome();
    // This error outranks one that came first: the user has to know it.
    if (!result && result.error().kind() == ErrorKind::kOwnerUnknown) status = result;
    if (guest_runs()) {
        // The guest runs here, whatever happened to the connection afterwards.
        if (!status) log::warning("after the handover: {}", status.error().message());
        status = Status();
    }
    if (!status) {
        const std::scoped_lock lock(mutex_);
        guest_.reset();
        // A sink that is not committed removes its temporary file.
        destination_ = {};
    }
    return status;
}

Status RecvSession::migrate() {
    MIGRATE_TRY(await_sender());
    MIGRATE_TRY(await_channels());
    MIGRATE_TRY(start_workers());
    core_.enter(Stage::kPagesMayMove);
    MIGRATE_TRY(link_->send(FrameType::kReady, "{}"));
    core_.activate();
    return receive_rounds();
}

Status RecvSession::start_workers() {
    const auto run_helper = [this](const std::string& name, const std::function<void()>& work) {
        run_timed(name, core_.times(), work);
    };
    MIGRATE_ASSIGN(placer_, memory::PagePlacer::create(*destination_.memory, offer_.regions,
                                                       prefault_helpers(offer_.settings.channels()),
                                                       run_helper, config_.placement));
    for (std::size_t i = 0; i < offer_.regions.size(); ++i) {
        const memory::PlacementChoice& choice = placer_->placements()[i];
        log::debug("region '{}': placement {}, since {}", offer_.regions[i].name,
                   name_of(choice.placement), choice.reason);
    }
    gate_ = std::make_unique<RoundGate>(offer_.settings.channels());
    shared_.reset(new RecvShared{{offer_.settings.packet_bytes(), offer_.settings.compression(),
                                  offer_.regions, device_state_},
                                 *placer_,
                                 destination_.memory->discards(),
                                 *gate_,
                                 {},
                                 devices_.get()});
    workers_.reserve(channels_.size());
    for (const auto& channel : channels_) {
        const auto work = [this, worker = channel.get()]() -> Status {
            const std::stop_token stop = core_.token();
            const std::stop_callback wake(stop, [worker] { worker->shutdown(); });
            return worker->run(*shared_, stop);
        };
        MIGRATE_ASSIGN(SessionThread worker,
                       SessionThread::start(fmt::format("multifdrecv_{}", index_of(channel->id())),
                                            core_.times(), core_.cancellation(), work));
        workers_.push_back(std::move(worker));
    }
    return {};
}

void RecvSession::stop_workers() {
    if (gate_) gate_->close();
    workers_.clear();
    if (devices_) devices_->join();
    // Ends its helpers, whose times belong to the report, too.
    placer_.reset();
}

Status RecvSession::receive_rounds() {
    std::uint32_t next_round = 1;
    while (true) {
        MIGRATE_ASSIGN(const transport::Frame frame, next_frame());
        switch (frame.type) {
            case FrameType::kRoundStart: {
                MIGRATE_ASSIGN(const transport::RoundMark mark,
                               transport::decode_round_mark(frame.body));
                if (mark.round != next_round) {
                    return make_error(ErrorKind::kProtocol,
                                      "the sender starts round {} where {} had to come", mark.round,
                                      next_round);
                }
                MIGRATE_TRY(receive_round(mark));
                ++next_round;
                break;
            }
            case FrameType::kSwitchoverStart:
                MIGRATE_TRY(begin_switchover());
                break;
            case FrameType::kDeviceState:
                MIGRATE_TRY(receive_device_frame(frame.body));
                break;
            case FrameType::kGuestState:
                MIGRATE_TRY(add_guest_state(guest_state_, std::as_bytes(std::span(frame.body))));
                break;
            default: {
                if (next_round == 1) {
                    return Error(ErrorKind::kProtocol, "the sender completed without a round");
                }
                MIGRATE_ASSIGN(const transport::Completion completion,
                               transport::decode_completion(frame.body));
                return complete(completion);
            }
        }
    }
}

// Waits for the next frame allowed now: rounds, then, with a guest or devices, the switchover, one
// round and their states.
Result<transport::Frame> RecvSession::next_frame() {
    if (offer_.guest.empty() && !devices_) {
        return link_->expect({FrameType::kRoundStart, FrameType::kComplete}, std::nullopt);
    }
    if (!switchover_began_) {
        // An image has one round, which is the last.
        return offer_.guest.empty()
                   ? link_->expect({FrameType::kSwitchoverStart}, std::nullopt)
                   : link_->expect({FrameType::kRoundStart, FrameType::kSwitchoverStart},
                                   std::nullopt);
    }
    if (!last_round_in_place_) return link_->expect({FrameType::kRoundStart}, std::nullopt);
    if (awaits_device_frames()) return link_->expect({FrameType::kDeviceState}, std::nullopt);
    if (offer_.guest.empty() || device_state_) {
        return link_->expect({FrameType::kComplete}, std::nullopt);
    }
    if (guest_state_.empty()) return link_->expect({FrameType::kGuestState}, std::nullopt);
    return link_->expect({FrameType::kGuestState, FrameType::kComplete}, std::nullopt);
}

Status RecvSession::receive_round(const transport::RoundMark& start) {
    const std::uint32_t round = start.round;
    core_.enter(Stage::kPagesMove);
    core_.events().emit("MIGRATION_PASS", {{"pass", std::uint64_t{round}},
                                           {"pages", start.pages},
                                           {"bytes", start.pages * kPageSize}});
    gate_->open(round);
    MIGRATE_ASSIGN(const transport::Frame frame,
                   link_->expect({FrameType::kRoundEnd}, std::nullopt));
    MIGRATE_ASSIGN(const transport::RoundMark mark, transport::decode_round_mark(frame.body));
    if (mark.round != round) {
        return make_error(ErrorKind::kProtocol, "the sender ends round {} in round {}", mark.round,
                          round);
    }
    shared_->ended_round.store(round, std::memory_order_release);
    if (!gate_->wait_for_all(core_.token())) return Error(ErrorKind::kCancelled, "cancelled");
    MIGRATE_TRY(round == 1 ? placer_->finish_full_round() : placer_->finish_round(mark.pages));
    last_round_in_place_ = switchover_began_.has_value();
    if (last_round_in_place_ && devices_) devices_->end();
    if (offer_.guest.empty()) return {};
    if (round == 1) {
        const transport::LoadTime expected{static_cast<std::uint64_t>(kTypicalLoadTime.count())};
        MIGRATE_TRY(link_->send(FrameType::kSwitchoverAck, transport::encode(expected)));
    }
    MIGRATE_TRY(link_->send(FrameType::kRoundDone, transport::encode(mark)));
    if (last_round_in_place_) placer_->end_rounds();
    // The sender computes its digests at the same time.
    return last_round_in_place_ && offer_.settings.verify() ? compute_digests() : Status();
}

Status RecvSession::complete(const transport::Completion& completion) {
    transport::Done done{.pages = received_pages()};
    if (done.pages != completion.pages) {
        return make_error(
            ErrorKind::kProtocol,
            "the sender counted {} normal, {} zero and {} unpopulated pages; {}, {} and {} arrived",
            completion.pages.normal, completion.pages.zero, completion.pages.unpopulated,
            done.pages.normal, done.pages.zero, done.pages.unpopulated);
    }
    placer_->end_rounds();
    if (offer_.settings.verify()) MIGRATE_TRY(compare_digests(completion));
    MIGRATE_TRY(await_devices(done));
    if (core_.stopped()) return Error(ErrorKind::kCancelled, "cancelled");
    if (!offer_.guest.empty()) MIGRATE_TRY(load_guest());
    MIGRATE_TRY(destination_.memory->commit());
    MIGRATE_TRY(guest_ ? take_over(done) : commit_devices());
    link_->stop_sending_heartbeats();
    return link_->send(FrameType::kDone, transport::encode(done));
}

Status RecvSession::load_guest() {
    const Clock::time_point began = Clock::now();
    std::vector<std::span<std::byte>> memory;
    for (std::size_t i = 0; i < offer_.regions.size(); ++i) {
        memory.push_back(destination_.memory->memory(RegionId{static_cast<std::uint16_t>(i)}));
    }
    MIGRATE_ASSIGN(auto loaded,
                   destination_.load(offer_.guest, guest_state_, std::move(memory), core_.token()));
    const std::scoped_lock lock(mutex_);
    guest_ = std::move(loaded);
    downtime_.load = std::chrono::ceil<Microseconds>(Clock::now() - began);
    return {};
}

// Acknowledges with LOADED, and runs the guest once the sender has handed it over.
Status RecvSession::take_over(transport::Done& done) {
    const transport::LoadTime load{static_cast<std::uint64_t>(downtime_.load.count())};
    MIGRATE_TRY(link_->send(FrameType::kLoaded, transport::encode(load)));
    MIGRATE_TRY(link_->expect({FrameType::kHandover}, std::nullopt));
    link_->stop_expecting_heartbeats();
    // If the sender was told that this side failed, it was also told that the guest will not run
    // here.
    {
        const std::scoped_lock lock(mutex_);
        GuestFate undecided = GuestFate::kUndecided;
        if (!fate_.compare_exchange_strong(undecided, GuestFate::kResuming)) {
            return Error(ErrorKind::kCancelled, "cancelled");
        }
    }
    const Clock::time_point began = Clock::now();
    MIGRATE_TRY(resume_guest());
    const Clock::time_point resumed = Clock::now();
    static_cast<void>(catching("event RESUME", [this]() -> Status {
        core_.events().emit("RESUME", {});
        return {};
    }));
    const std::scoped_lock lock(mutex_);
    downtime_.resume = std::chrono::ceil<Microseconds>(resumed - began);
    downtime_.total = std::chrono::ceil<Microseconds>(resumed - *switchover_began_);
    done.resume_us = static_cast<std::uint64_t>(downtime_.resume.count());
    done.downtime_us = static_cast<std::uint64_t>(downtime_.total.count());
    return {};
}

// Commits the devices, resumes the guest and sets fate_. Not called before the handover: a sender
// that never hands the guest over keeps its devices, too.
Status RecvSession::resume_guest() {
    Status resuming = catching("the guest", [this] {
        Status committed = commit_devices();
        return committed ? guest_->resume() : committed;
    });
    if (resuming) {
        fate_.store(GuestFate::kRuns);
    } else if (resuming.error().kind() == ErrorKind::kOwnerUnknown) {
        fate_.store(GuestFate::kUnknown);
    } else {
        // The guest is stopped, and the sender may take it back.
        fate_.store(GuestFate::kAbandoned);
    }
    return resuming;
}

// Returns true if the guest runs here, false if it does not and never will, nothing if that is
// unknown. A guest that was not resumed yet never will be after this call.
std::optional<bool> RecvSession::settle_fate() {
    GuestFate fate = GuestFate::kUndecided;
    if (fate_.compare_exchange_strong(fate, GuestFate::kAbandoned)) return false;
    if (fate == GuestFate::kRuns) return true;
    if (fate == GuestFate::kAbandoned) return false;
    return std::nullopt;
}

Status RecvSession::compute_digests() {
    MIGRATE_ASSIGN(
        const auto digests,
        memory::digest_sink(*destination_.memory, offer_.regions,
                            std::max(1U, std::thread::hardware_concurrency()), core_.token()));
    const std::scoped_lock lock(mutex_);
    for (const memory::Digest& digest : digests) digests_.push_back(digest.hex());
    return {};
}

Status RecvSession::compare_digests(const transport::Completion& completion) {
    if (digests_.empty()) MIGRATE_TRY(compute_digests());
    if (digests_.size() != completion.digests.size()) {
        return make_error(ErrorKind::kProtocol, "the sender sent {} digests for {} regions",
                          completion.digests.size(), digests_.size());
    }
    for (std::size_t i = 0; i < digests_.size(); ++i) {
        if (digests_[i] != completion.digests[i]) {
            return make_error(
                "region '{}' is not a true copy: its digest is {} here and {} at the sender",
                offer_.regions[i].name, digests_[i], completion.digests[i]);
        }
    }
    return {};
}

transport::PageCounts RecvSession::received_pages() const {
    transport::PageCounts pages;
    for (const auto& channel : channels_) {
        if (channel) pages += channel->counters().pages.get();
    }
    return pages;
}

void RecvSession::cancel(const std::string& reason) {
    // Holds the mutex, since take_over() decides the guest's fate in one step under it.
    const std::scoped_lock lock(mutex_);
    const GuestFate fate = fate_.load();
    if (fate != GuestFate::kUndecided && fate != GuestFate::kAbandoned) {
        log::warning("{}: too late, the guest was handed over to this side", reason);
        return;
    }
    core_.cancellation().fail(Error(ErrorKind::kCancelled, reason));
}

GuestOwner RecvSession::owner() const {
    const std::scoped_lock lock(mutex_);
    return owner_locked();
}

// Called with mutex_ held.
GuestOwner RecvSession::owner_locked() const {
    if (offer_.guest.empty()) return GuestOwner::kNone;
    switch (fate_.load()) {
        case GuestFate::kRuns:
            return GuestOwner::kDestination;
        case GuestFate::kResuming:
        case GuestFate::kUnknown:
            return GuestOwner::kUnknown;
        case GuestFate::kUndecided:
        case GuestFate::kAbandoned:
            break;
    }
    return GuestOwner::kSource;
}

Report RecvSession::report() const {
    const std::scoped_lock lock(mutex_);
    Report report;
    report.side = "recv";
    core_.fill(report);
    report.guest_owner = owner_locked();
    report.memory = config_.sink;
    if (link_) {
        report.settings = offer_.settings.report();
        report.settings.emplace_back("multifd-device-state", device_state_ ? "on" : "off");
        report.total_bytes = total_bytes(offer_.regions);
        report.peer = link_->peer_name();
        engine::add_channel(report, main_channel_report(link_->bytes_received()));
    }
    for (const auto& channel : channels_) {
        if (!channel) continue;
        engine::add_channel(report,
                            channel_report(channel->id(), channel->bytes(), channel->counters()));
        report.pages += channel->counters().pages.get();
    }
    report.digests = digests_;
    if (devices_) {
        report.devices = devices_->report();
        report.device_buffer_peak = devices_->peak_bytes();
    }
    report.planned_pages = report.pages.total();
    if (!offer_.guest.empty()) {
        report.downtime = downtime_;
        GuestReport guest{.kind = offer_.guest,
                          .state = !guest_runs()                  ? "inmigrate"
                                   : guest_ && !guest_->running() ? "paused"
                                                                  : "running"};
        if (guest_) guest.longest_gap = guest_->activity().longest_gap;
        report.guest = std::move(guest);
    }
    return report;
}

}  // namespace migrate::engine
