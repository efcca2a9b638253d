// SPDX-License-Identifier: Apache-2.0
#include "engine/send/precopy.hpp"

#include <utility>

#include "base/log.hpp"

namespace migrate::engine {

using Clock = std::chrono::steady_clock;

Result<Precopy::Converged> Precopy::run() {
    MIGRATE_TRY(digest_.measure_first());
    MIGRATE_TRY(live_.start());
    note_speed();
    parts_.control.say("before round 1");
    if (parts_.config.postcopy.at_once(parts_.control.postcopy_asked())) {
        return converged({.next_round = 1, .postcopy = true});
    }
    MIGRATE_TRY(parts_.reuse.ask());
    return go_on({.round = 1, .begun = {}});
}

Result<Precopy::Converged> Precopy::go_on(RoundsLeft left) {
    for (std::uint32_t round = left.round;; ++round) {
        MIGRATE_ASSIGN(const RoundFigures figures,
                       left.begun ? finish_round(*std::exchange(left.begun, std::nullopt))
                                  : send_round(round));
        const Decision decision = decide(figures);
        show(figures, decision);
        if (decision.action == Action::kGiveUp) {
            return Error(ErrorKind::kNotConverged, decision.reason);
        }
        if (decision.action == Action::kSwitchOver) {
            return converged({round + 1, decision.expected_downtime, postcopy_});
        }
        MIGRATE_TRY(live_.throttle(decision.cpu_throttle));
        MIGRATE_TRY(await_next_round(figures, decision));
    }
}

Result<Precopy::Converged> Precopy::converged(Converged how) {
    MIGRATE_TRY(live_.check(saving()));
    // Before the pause, which this must not prolong.
    parts_.published.lock()->cpu_during = sample_guest_cpu(live_);
    return how;
}

// Between the pause and migrate-continue the user may change what belongs to the guest's state.
guest::Saving Precopy::saving() const {
    const bool at_once = parts_.devices.on_channels() && !parts_.config.pause_before_switchover;
    return at_once ? guest::Saving::kAtOnce : guest::Saving::kLater;
}

// The guest's speed before it is disturbed ends here.
void Precopy::note_speed() {
    const GuestCpuSample sample = sample_guest_cpu(live_);
    const auto published = parts_.published.lock();
    published->before = live_.activity();
    published->cpu_before = sample;
    published->collected = Clock::now();
}

// Sends a round, and collects the pages that the guest wrote meanwhile.
Result<RoundFigures> Precopy::send_round(std::uint32_t round) {
    parts_.control.say(fmt::format("in round {}", round));
    MIGRATE_ASSIGN(SentRound sent, parts_.rounds.send(round, plan_of(round)));
    return end_round(std::move(sent));
}

// In a stall every page is sent: such rounds measure the channels, and take the time that a harder
// throttle needs to show.
RoundPlan Precopy::plan_of(std::uint32_t round) {
    if (round == 1) return parts_.all_pages();
    const unsigned channels = parts_.config.negotiated.most_channels();
    return stalled_ ? live_.dirty_plan(channels) : live_.postponing_plan(channels);
}

// The round was to be the last one. What did not arrive of it follows while the guest runs.
Result<RoundFigures> Precopy::finish_round(SentRound begun) {
    parts_.control.say(fmt::format("in round {}", begun.figures.round));
    MIGRATE_TRY(parts_.rounds.continue_round(
        begun, Error(ErrorKind::kLostConnection, "the switchover broke off")));
    return end_round(std::move(begun));
}

Result<RoundFigures> Precopy::end_round(SentRound sent) {
    const std::uint32_t round = sent.figures.round;
    MIGRATE_ASSIGN(RoundFigures figures, parts_.rounds.await_done(std::move(sent)));
    MIGRATE_TRY(live_.collect());
    MIGRATE_TRY(live_.check_alive());
    figures.collect_time = live_.collect_time();
    figures.dirty_pages = live_.dirty_pages();
    figures.elapsed = parts_.core.active_time();
    if (round == 1) digest_.count();
    return figures;
}

Decision Precopy::decide(const RoundFigures& figures) {
    const LiveControl::Current now = parts_.control.take_tunables();
    if (now.changed) pacing_.reset();
    Decision decision =
        convergence_.decide(figures, now.tunables, fixed_costs(), parts_.rounds.acked());
    postcopy_ =
        parts_.config.postcopy.is_due(figures.round, decision, parts_.control.postcopy_asked());
    if (postcopy_) {
        decision.action = Action::kSwitchOver;
        // Its last round is empty.
        decision.expected_downtime = convergence_.expect(0, now.tunables, fixed_costs());
    }
    if (decision.action == Action::kSwitchOver && parts_.rounds.is_interrupted()) {
        postcopy_ = false;
        decision.action = Action::kNextRound;
        decision.reason = "connections were lost, and are made again in a further round";
    }
    stalled_ = decision.stalled;
    return decision;
}

FixedCosts Precopy::fixed_costs() const {
    FixedCosts costs{.round_trip = parts_.rounds.round_trip(),
                     .load = parts_.rounds.load_time(),
                     .digest = digest_.expected()};
    // State sent as frames after the last round waits for that round's confirmation.
    if (!parts_.devices.on_channels()) costs.round_trips += 1;
    return costs;
}

void Precopy::show(const RoundFigures& figures, const Decision& decision) {
    {
        const auto published = parts_.published.lock();
        published->rounds.push_back({figures, decision});
        published->dirty_pages = figures.dirty_pages;
        published->collected = Clock::now();
        published->cpu_throttle = decision.cpu_throttle;
    }
    log::debug(
        "round {}: {} pages, {} of them with content and {} postponed, {} bytes in {} ms; {} pages "
        "dirtied meanwhile "
        "and collected in {} us; bandwidth {:.1f} MiB/s, expected downtime {} us; {}{}{}",
        figures.round, figures.pages, figures.normal_pages, figures.postponed_pages, figures.bytes,
        whole_ms(figures.duration), figures.dirty_pages, figures.collect_time.count(),
        decision.bandwidth / static_cast<double>(kMiB), decision.expected_downtime.count(),
        name_of(decision.action), decision.reason.empty() ? "" : ": ", decision.reason);
    if (figures.tail_bytes != 0) {
        log::debug("round {}: its last {} bytes, sent without max-bandwidth, took {} us",
                   figures.round, figures.tail_bytes, figures.tail_time.count());
    }
    parts_.control.note(decision);
    const bool stalled = decision.stalled && decision.action == Action::kNextRound;
    if (!stall_reporter_.due(stalled, figures.elapsed)) return;
    const auto smallest_ms = static_cast<std::uint64_t>(decision.smallest_limit.count() / 1000);
    parts_.core.events().emit("MIGRATION_STALLED",
                              {{"pass", std::uint64_t{figures.round}},
                               {"remaining", figures.dirty_pages * kPageSize},
                               {"obstacle", std::string(name_of(decision.obstacle))},
                               {"smallest-downtime-limit", smallest_ms},
                               {"reason", decision.reason}});
    log::warning("the migration stalls: {}", decision.reason);
}

Status Precopy::await_next_round(const RoundFigures& figures, const Decision& decision) {
    const Clock::time_point began = Clock::now();
    const Microseconds wait = pacing_.wait_after(figures, decision);
    const bool digest_decides = decision.obstacle == Obstacle::kDigest;
    if ((wait.count() != 0 || digest_decides) && digest_.due()) {
        MIGRATE_TRY(digest_.measure_again());
        if (digest_decides &&
            convergence_.fits(figures.dirty_pages, parts_.control.tunables(), fixed_costs())) {
            pacing_.reset();
            return live_.collect_again();
        }
    }
    if (wait.count() == 0) return {};
    parts_.control.say(fmt::format("before round {}", figures.round + 1));
    MIGRATE_TRY(parts_.control.wait_until(began + wait));
    // The guest kept writing during the wait.
    return live_.collect_again();
}

}  // namespace migrate::engine
