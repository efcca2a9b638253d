// The sending side of a live migration: rounds while the guest runs, and the switchover.

#include <algorithm>
#include <thread>

#include "base/log.hpp"
#include "engine/send/send_session.hpp"
#include "memory/region_digest.hpp"
#include "transport/socket.hpp"

namespace migrate::engine {

using Clock = std::chrono::steady_clock;
using transport::Frame;
using transport::FrameType;

namespace {

Microseconds between(Clock::time_point begin, Clock::time_point end) {
    return std::chrono::duration_cast<Microseconds>(end - begin);
}

Microseconds since(Clock::time_point begin) { return between(begin, Clock::now()); }

Error cancelled() { return Error(ErrorKind::kCancelled, "cancelled"); }

}  // namespace

Status SendSession::migrate_live() {
    MIGRATE_TRY(start_timer());
    if (config_.negotiated.verify()) MIGRATE_TRY(measure_digest(true));
    MIGRATE_TRY(live_->start());
    {
        const std::scoped_lock lock(mutex_);
        before_ = live_->activity();
    }
    for (std::uint32_t round = 1;; ++round) {
        MIGRATE_ASSIGN(const LiveRound sent,
                       send_live_round(round, round == 1 ? plan_all() : plan_dirty()));
        MIGRATE_ASSIGN(RoundFigures figures, await_round_done(sent));
        MIGRATE_TRY(live_->collect());
        MIGRATE_TRY(live_->check_alive());
        figures.collect_time = live_->collect_time();
        figures.dirty_pages = live_->dirty_pages();
        figures.elapsed = core_.active_time();
        if (round == 1) count_digested();
        const Tunables now = tunables_for_decision();
        const Decision decision = convergence_.decide(figures, now, fixed_costs(), acked_);
        publish(figures, decision);
        if (decision.action == Action::kGiveUp) {
            return Error(ErrorKind::kNotConverged, decision.reason);
        }
        if (decision.action == Action::kSwitchOver) {
            MIGRATE_TRY(live_->check());
            return switch_over(round + 1, decision.expected_downtime);
        }
        MIGRATE_TRY(live_->throttle(decision.cpu_throttle));
        MIGRATE_TRY(await_next_round(figures, decision));
    }
}

RoundPlan SendSession::plan_dirty() const {
    return RoundPlan::written(source_.regions(), config_.negotiated.channels(), live_->dirty(),
                              live_->given_back());
}

Result<SendSession::LiveRound> SendSession::send_live_round(std::uint32_t round, RoundPlan plan) {
    say(fmt::format("in round {}", round));
    LiveRound sent{.figures = {}, .began = Clock::now(), .sent = {}};
    const std::uint64_t pages = plan.pages();
    const std::uint64_t bytes = channel_bytes();
    const std::uint64_t normal = sent_pages().normal;
    MIGRATE_TRY(run_round(round, std::move(plan)));
    sent.sent = Clock::now();
    sent.figures = {.round = round,
                    .pages = pages,
                    .normal_pages = sent_pages().normal - normal,
                    .bytes = channel_bytes() - bytes};
    return sent;
}

// Waits until the whole round is in place at the receiver, so that its duration contains all of its
// time.
Result<RoundFigures> SendSession::await_round_done(const LiveRound& sent) {
    const std::uint32_t round = sent.figures.round;
    say(fmt::format("while the receiver had to confirm round {} (ROUND_DONE)", round));
    while (true) {
        MIGRATE_ASSIGN(const Frame frame,
                       expect_from_receiver({FrameType::kRoundDone, FrameType::kSwitchoverAck}));
        if (frame.type == FrameType::kSwitchoverAck) {
            MIGRATE_ASSIGN(const transport::LoadTime time, transport::decode_load_time(frame.body));
            load_time_ = Microseconds(time.microseconds);
            acked_ = true;
            continue;
        }
        MIGRATE_ASSIGN(const transport::RoundMark mark, transport::decode_round_mark(frame.body));
        if (mark.round != round) {
            return make_error(ErrorKind::kProtocol, "the receiver ended round {} in round {}",
                              mark.round, round);
        }
        round_trip_.add(since(sent.sent));
        RoundFigures figures = sent.figures;
        figures.duration = since(sent.began);
        return figures;
    }
}

// The first sample, before any page is sent, reads populated pages: a page that this read fills is
// sent anyway. Later samples read pages that were sent with content.
Status SendSession::measure_digest(bool first) {
    const BlockSample sample = digest_meter_.next_sample();
    const auto populated = [this](RegionId region, PageRange pages, auto& extents) {
        return source_.population(region, pages, extents);
    };
    const auto content = [this](RegionId region, PageRange pages, auto& extents) {
        return live_->content(region, pages, extents);
    };
    if (first) return digest_meter_.measure(sample, populated, core_.token());
    MIGRATE_TRY(digest_meter_.measure(sample, content, core_.token()));
    Status checked;
    for (std::size_t i = 0; i < source_.regions().size(); ++i) {
        sample.for_each(source_.regions()[i].pages(), [&](PageRange block) {
            if (checked) checked = live_->check_read(static_cast<RegionId>(i), block);
        });
    }
    MIGRATE_TRY(std::move(checked));
    const std::uint64_t pages = live_->content_pages() + zero_pages_;
    digest_time_ = digest_meter_.expect(pages * kPageSize);
    return {};
}

// Called after the first round, when it is known how much memory a digest reads.
void SendSession::count_digested() {
    if (!config_.negotiated.verify()) return;
    const transport::PageCounts counts = sent_pages();
    zero_pages_ = counts.zero;
    digest_time_ = digest_meter_.expect((counts.normal + counts.zero) * kPageSize);
}

FixedCosts SendSession::fixed_costs() const {
    FixedCosts costs{.round_trip = round_trip_.value(), .load = load_time_, .digest = digest_time_};
    // State sent as frames after the last round waits for that round's confirmation.
    if (!accepted_.device_state) costs.round_trips += 1;
    return costs;
}

void SendSession::publish(const RoundFigures& figures, const Decision& decision) {
    {
        const std::scoped_lock lock(mutex_);
        rounds_.push_back({figures, decision});
        dirty_pages_ = figures.dirty_pages;
        cpu_throttle_ = decision.cpu_throttle;
        last_reason_ = decision.reason;
        out_of_rungs_at_ =
            decision.action == Action::kNextRound ? decision.out_of_rungs_at : std::nullopt;
        set_timer();
    }
    const bool stalled = decision.stalled && decision.action == Action::kNextRound;
    if (!stall_reporter_.due(stalled, figures.elapsed)) return;
    const auto smallest_ms = static_cast<std::uint64_t>(decision.smallest_limit.count() / 1000);
    core_.events().emit("MIGRATION_STALLED", {{"pass", std::uint64_t{figures.round}},
                                              {"remaining", figures.dirty_pages * kPageSize},
                                              {"obstacle", std::string(name_of(decision.obstacle))},
                                              {"smallest-downtime-limit", smallest_ms},
                                              {"reason", decision.reason}});
    log::warning("the migration stalls: {}", decision.reason);
}

Status SendSession::switch_over(std::uint32_t round, Microseconds expected) {
    const Clock::time_point began = Clock::now();
    log::debug("switchover, expected to take {} us", expected.count());
    say("in the switchover");
    MIGRATE_TRY(live_->pause());
    DowntimeReport downtime{.stop = since(began)};
    {
        const std::scoped_lock lock(mutex_);
        paused_ = live_->activity();
        guest_state_ = "finish-migrate";
    }
    core_.events().emit("STOP", {});
    if (config_.pause_before_switchover) MIGRATE_TRY(await_continue());
    core_.set_status(MigrationStatus::kDevice);
    say("in the switchover");

    const Clock::time_point last_round = Clock::now();
    // As in QEMU, the bandwidth is not limited while the guest is paused.
    {
        const std::scoped_lock lock(mutex_);
        rate_lifted_ = true;
        pacer_.set_rate(0);
    }
    MIGRATE_TRY(link_->send(FrameType::kSwitchoverStart, "{}"));
    MIGRATE_TRY(start_devices());
    // The dirty pages of the last collection, and those written until the pause.
    MIGRATE_TRY(live_->collect_more());
    MIGRATE_ASSIGN(const LiveRound last, send_live_round(round, plan_dirty()));
    RoundFigures figures;
    // State frames are sent only after the receiver has confirmed the round. On the channels, the
    // round, the state and COMPLETE may be in transit together, which saves the guest a round trip.
    const bool overlaps = shared_.devices != nullptr;
    if (!overlaps) {
        MIGRATE_ASSIGN(figures, await_round_done(last));
    }
    const Clock::time_point memory_done = overlaps ? devices_->memory_done() : Clock::now();
    downtime.last_round = between(last_round, memory_done);
    // With device state on the channels, another thread uses the guest to save its state now.
    if (shared_.devices == nullptr) MIGRATE_TRY(live_->check_still());
    MIGRATE_TRY(send_devices_in_turn());
    downtime.devices = between(memory_done, overlaps ? last.sent : Clock::now());

    const Clock::time_point saving = Clock::now();
    if (!overlaps) {
        MIGRATE_ASSIGN(const std::string state, live_->save_state());
        for (std::size_t sent = 0; sent < state.size(); sent += transport::kMaxFrameBody) {
            MIGRATE_TRY(
                link_->send(FrameType::kGuestState, state.substr(sent, transport::kMaxFrameBody)));
        }
    }
    downtime.state_save = since(saving);

    const Clock::time_point digesting = Clock::now();
    transport::Completion completion;
    MIGRATE_TRY(make_completion(completion));
    downtime.digest = since(digesting);

    MIGRATE_TRY(link_->send(FrameType::kComplete, transport::encode(completion)));
    // Checked while the receiver loads: no memory may be plugged into a guest whose devices were
    // saved.
    MIGRATE_TRY(live_->check_unchanged());
    if (overlaps) {
        MIGRATE_ASSIGN(figures, await_round_done(last));
        figures.duration -= std::min(figures.duration, downtime.digest);
    }
    say("while the receiver had to load the guest (LOADED)");
    MIGRATE_ASSIGN(const Frame loaded, expect_from_receiver({FrameType::kLoaded}));
    MIGRATE_ASSIGN(const transport::LoadTime load, transport::decode_load_time(loaded.body));
    MIGRATE_ASSIGN(const transport::Done done, hand_over(completion));
    downtime.total = since(began);
    downtime.load = Microseconds(load.microseconds);
    downtime.resume = Microseconds(done.resume_us);
    downtime.devices += Microseconds(done.devices_us);
    downtime.wire =
        std::max(Microseconds(0), downtime.total - downtime.stop - downtime.last_round -
                                      downtime.devices - downtime.state_save - downtime.digest -
                                      downtime.load - downtime.resume);
    // The guest already runs while DONE is in transit.
    const Microseconds done_way = std::min(round_trip_.value() / 2, downtime.wire);
    downtime.wire -= done_way;
    downtime.total -= done_way;
    figures.elapsed = core_.active_time();
    const std::scoped_lock lock(mutex_);
    downtime_ = downtime;
    dirty_pages_ = 0;
    rounds_.push_back({figures,
                       {.action = Action::kSwitchOver,
                        .cpu_throttle = cpu_throttle_,
                        .downtime_limit = rounds_.back().decision.downtime_limit,
                        .expected_downtime = expected,
                        .bandwidth = figures.bytes_per_second(),
                        .reason = {}}});
    return {};
}

Status SendSession::await_continue() {
    say("while the migration waited for migrate-continue");
    {
        // Set before the status changes: a client that sees the status may answer at once.
        const std::scoped_lock lock(mutex_);
        awaits_continue_ = true;
    }
    core_.set_status(MigrationStatus::kPreSwitchover);
    std::unique_lock lock(mutex_);
    const bool came = continued_.wait(lock, core_.token(), [this] { return may_switch_over_; });
    awaits_continue_ = false;
    lock.unlock();
    return came ? live_->check_still() : Status(cancelled());
}

// Hands the guest over, once: from the HANDOVER frame on, it belongs to the receiver.
Result<transport::Done> SendSession::hand_over(const transport::Completion& completion) {
    // The last moment to keep a guest here that someone else has resumed.
    MIGRATE_TRY(live_->check_still());
    {
        const std::scoped_lock lock(mutex_);
        if (core_.stopped()) return cancelled();
        live_->hand_over();
        owner_ = GuestOwner::kUnknown;
    }
    link_->stop_sending_heartbeats();
    MIGRATE_TRY(link_->send(FrameType::kHandover, "{}"));
    return await_done(completion);
}

// Called with mutex_ held.
void SendSession::add_guest(Report& report) const {
    report.rounds = rounds_;
    report.dirty_pages = dirty_pages_;
    report.downtime = downtime_;
    if (!rounds_.empty()) report.expected_downtime = rounds_.back().decision.expected_downtime;
    const guest::Activity now = live_->activity();
    const bool tracked = before_.run_time.count() != 0;
    const bool paused = paused_.run_time.count() != 0;
    GuestReport guest{.kind = guest_kind_,
                      .state = guest_state_,
                      .dirty_tracker = std::string(live_->tracker().name()),
                      .stood_still = live_->tracker().stood_still(),
                      .cpu_throttle = cpu_throttle_};
    guest.rate_before = bytes_per_second({}, tracked ? before_ : now);
    if (tracked) guest.rate_during = bytes_per_second(before_, paused ? paused_ : now);
    guest.longest_gap = now.longest_gap;
    report.guest = std::move(guest);
}

}  // namespace migrate::engine
