// SPDX-License-Identifier: Apache-2.0
#include "engine/send/switchover.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {

using transport::FrameType;

Result<std::optional<RoundsLeft>> Switchover::run() {
    Result<Loaded> loaded = move();
    if (loaded && parts_.link.lost()) {
        loaded = Error(ErrorKind::kLostConnection, "the main channel was lost before the handover");
    }
    if (!loaded) {
        if (!parts_.rounds.breaks_off(loaded.error())) return std::move(loaded).error();
        MIGRATE_ASSIGN(RoundsLeft left, break_off(loaded.error()));
        return std::optional(std::move(left));
    }
    MIGRATE_TRY(hand_over(*loaded));
    return std::optional<RoundsLeft>();
}

Result<Switchover::Loaded> Switchover::move() {
    // Without repair a lost connection gives the guest back at once. A lost channel does, too: the
    // guest is paused, so no time is left to replace it, and chunks of device state are not sent
    // again.
    const bool again = postcopy() == nullptr && parts_.channels.losses().survives() &&
                       parts_.devices.can_start_again();
    MIGRATE_TRY(parts_.rounds.begin_switchover(
        round_, again ? RoundSender::OnLoss::kBreakOff : RoundSender::OnLoss::kFail));
    MIGRATE_TRY(pause_guest());
    if (!again) MIGRATE_TRY(parts_.channels.fail_on_loss());
    MIGRATE_TRY(
        parts_.link.send(FrameType::kSwitchoverStart, parts_.rounds.pause_time(clock_.began())));
    MIGRATE_TRY(parts_.devices.start(parts_.channels, parts_.core, parts_.published));
    MIGRATE_ASSIGN(const SentRound last, send_last_round());

    // With device state on the channels, the round, the state and COMPLETE may be in transit
    // together, which shortens the downtime by a round trip. DEVICE_STATE waits for ROUND_DONE.
    const bool overlaps = parts_.devices.on_channels();
    RoundFigures figures;
    if (overlaps) {
        clock_.lap(&DowntimeReport::last_round, parts_.devices.memory_done());
        clock_.lap(&DowntimeReport::devices, last.sent);
        clock_.skip();
    } else {
        MIGRATE_ASSIGN(figures, parts_.rounds.await_done(last));
        clock_.lap(&DowntimeReport::last_round);
        MIGRATE_TRY(send_device_frames());
    }

    if (postcopy() != nullptr) MIGRATE_TRY(postcopy()->add(parts_.link, live_.dirty()));
    MIGRATE_ASSIGN(transport::Completion completion, make_completion(parts_));
    const Microseconds digest = clock_.lap(&DowntimeReport::digest);
    MIGRATE_TRY(parts_.link.send(FrameType::kComplete, transport::encode(completion)));
    // Fails if memory was plugged, removed or remapped since check(), or since the devices were
    // saved: the receiver does not have that memory. Takes several queries, so it runs while the
    // receiver loads.
    MIGRATE_TRY(live_.check_unchanged());
    MIGRATE_TRY(live_.prepare_give_away());
    if (overlaps) {
        MIGRATE_ASSIGN(figures, parts_.rounds.await_done(last));
        figures.duration -= std::min(figures.duration, digest);
    }
    MIGRATE_ASSIGN(const Microseconds load, await_loaded());
    clock_.add(&DowntimeReport::load, load);
    return Loaded{last, figures, std::move(completion)};
}

Status Switchover::hand_over(const Loaded& loaded) {
    parts_.rounds.prepare_handover(loaded.last);
    MIGRATE_TRY(parts_.custody.hand_over());
    if (postcopy() != nullptr) postcopy()->hand_over();
    const Microseconds before = clock_.elapsed();
    MIGRATE_ASSIGN(const transport::Frame answer, parts_.rounds.hand_over(clock_.began()));
    MIGRATE_ASSIGN(const transport::Done done, take_done(parts_, answer, loaded.completion));
    publish(done, loaded.figures, before);
    return {};
}

// The receiver cannot run the guest: it was not handed over.
Result<RoundsLeft> Switchover::break_off(const Error& lost) {
    // A thread that saves the guest's state would find that it runs.
    parts_.devices.break_off(parts_.channels);
    MIGRATE_TRY(live_.resume());
    log::warning(
        "a connection was lost in the switchover: the guest runs on here, and the migration goes "
        "on (reconnect-timeout): {}",
        lost.message());
    {
        const auto published = parts_.published.lock();
        published->guest_state = live_.guest_runs() ? "running" : "paused";
        published->paused = {};
    }
    if (paused_) parts_.core.events().emit("RESUME", {});
    parts_.control.return_to_precopy();
    parts_.core.budget().begin();
    if (parts_.core.status() != MigrationStatus::kActive) {
        parts_.core.set_status(MigrationStatus::kActive);
    }
    MIGRATE_ASSIGN(RoundsLeft left, parts_.rounds.return_to_precopy());
    parts_.channels.end_all(lost);
    MIGRATE_TRY(parts_.devices.prepare_again(parts_.channels, parts_.published));
    return left;
}

// Pauses the guest, waits for migrate-continue if that was asked for, and lifts the bandwidth
// limit: as in QEMU, there is none while the guest is paused.
Status Switchover::pause_guest() {
    log::debug("switchover, expected to take {} us", expected_.count());
    parts_.control.say("in the switchover");
    parts_.core.budget().lift();
    MIGRATE_TRY(live_.pause());
    clock_.lap(&DowntimeReport::stop);
    {
        const auto published = parts_.published.lock();
        published->paused = live_.activity();
        published->guest_state = "finish-migrate";
    }
    parts_.core.events().emit("STOP", {});
    paused_ = true;
    if (parts_.config.pause_before_switchover) {
        MIGRATE_TRY(parts_.control.await_continue());
        MIGRATE_TRY(live_.check_still());
    }
    parts_.core.set_status(MigrationStatus::kDevice);
    parts_.control.say("in the switchover");
    clock_.skip();
    parts_.control.lift_rate();
    return {};
}

// Sends the dirty pages of the last collection, and those written until the pause; in post-copy
// none of them.
Result<SentRound> Switchover::send_last_round() {
    MIGRATE_TRY(live_.collect_paused());
    parts_.control.say(fmt::format("in round {}", round_));
    RoundPlan plan = live_.dirty_plan(parts_.config.negotiated.most_channels());
    return parts_.rounds.send_last(postcopy() != nullptr ? plan.without(live_.dirty())
                                                         : std::move(plan));
}

// check_still() is safe here, because no other thread uses the guest. With device state on the
// channels, the thread that saves the guest's own state uses it at this time.
Status Switchover::send_device_frames() {
    MIGRATE_TRY(live_.check_still());
    return parts_.devices.send_frames(parts_.link, parts_.core.token(), clock_);
}

Result<Microseconds> Switchover::await_loaded() {
    parts_.control.say("while the sender waited for LOADED");
    MIGRATE_ASSIGN(const transport::Frame loaded, parts_.rounds.expect({FrameType::kLoaded}));
    MIGRATE_ASSIGN(const transport::LoadTime time, transport::decode_load_time(loaded.body));
    return Microseconds(time.microseconds);
}

// The guest already runs while DONE is in transit, and the receiver knows for how long. So its
// figure counts, unless the guest must have been paused for longer: an older receiver counts from
// the arrival of SWITCHOVER_START on. `before`: time from the pause to HANDOVER.
void Switchover::publish(const transport::Done& done, RoundFigures figures, Microseconds before) {
    const Microseconds resume(done.resume_us);
    clock_.add(&DowntimeReport::resume, resume);
    clock_.add(&DowntimeReport::devices, Microseconds(done.devices_us));
    const DowntimeReport downtime = clock_.close(
        std::max(Microseconds(done.downtime_us), before + parts_.rounds.round_trip() / 2 + resume));
    figures.elapsed = parts_.core.active_time();
    const auto published = parts_.published.lock();
    published->downtime = downtime;
    published->dirty_pages = 0;
    published->rounds.push_back(
        {figures,
         {.action = Action::kSwitchOver,
          .cpu_throttle = published->cpu_throttle,
          .downtime_limit = published->rounds.empty()
                                ? published->tunables.downtime_limit
                                : published->rounds.back().decision.downtime_limit,
          .expected_downtime = expected_,
          .bandwidth = figures.bytes_per_second(),
          .reason = {}}});
}

}  // namespace migrate::engine
