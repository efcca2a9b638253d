// SPDX-License-Identifier: Apache-2.0
#include "engine/convergence/convergence.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "engine/convergence/convergence_reason.hpp"

namespace migrate::engine {
namespace {

// A round gains only if it leaves less than this share of the pages that the last gain left.
constexpr double kGain = 0.9;
// This many rounds in a row without a gain are a stall. Small gains add up: 6 % a round is no
// stall.
constexpr unsigned kStallRounds = 2;
// The same as in QEMU: a single round over the threshold may be chance.
constexpr unsigned kThrottleRounds = 2;

bool is_less(std::uint64_t pages, std::uint64_t than) {
    return static_cast<double>(pages) < kGain * static_cast<double>(than);
}

bool is_late(const RoundFigures& figures, const Tunables& tunables) {
    return tunables.deadline.count() != 0 && figures.elapsed >= tunables.deadline;
}

}  // namespace

void Convergence::look_for_stall(const RoundFigures& figures) {
    if (figures.outage.count() != 0) {
        // The guest wrote while nothing could be sent, which says nothing about the next rounds.
        dirty_at_gain_ = UINT64_MAX;
        rounds_without_gain_ = 0;
        return;
    }
    const bool gained =
        dirty_at_gain_ == UINT64_MAX || is_less(figures.dirty_pages, dirty_at_gain_);
    if (gained) dirty_at_gain_ = figures.dirty_pages;
    rounds_without_gain_ = gained ? 0 : rounds_without_gain_ + 1;
}

// Returns true if throttling harder can still help: it is done now, or soon if the guest keeps
// writing too much. Below the threshold it is never done, so other means are needed.
bool Convergence::throttle_harder(const RoundFigures& figures, const Tunables& tunables) {
    if (figures.outage.count() != 0) {
        rounds_over_threshold_ = 0;
        return true;
    }
    const double dirtied =
        static_cast<double>(figures.dirty_pages) * static_cast<double>(kPageSize);
    const double allowed = figures.planned_bytes() * tunables.throttle_trigger_threshold / 100;
    rounds_over_threshold_ = dirtied > allowed ? rounds_over_threshold_ + 1 : 0;
    const unsigned harder = throttle_ == 0 ? tunables.cpu_throttle_initial
                                           : throttle_ + tunables.cpu_throttle_increment;
    const unsigned next = std::min(harder, tunables.max_cpu_throttle);
    rounds_under_threshold_ = dirtied > allowed ? 0 : rounds_under_threshold_ + 1;
    if (next <= throttle_ || rounds_under_threshold_ >= kThrottleRounds) return false;
    if (rounds_over_threshold_ >= kThrottleRounds) {
        rounds_over_threshold_ = 0;
        throttle_ = next;
    }
    return true;
}

// Returns false if the limit has reached max-downtime.
bool Convergence::raise_limit(const Tunables& tunables) {
    const Microseconds now = std::max(raised_limit_, tunables.downtime_limit);
    if (now >= tunables.max_downtime) return false;
    // Each step raises the limit by half, but by at least 1 ms.
    raised_limit_ =
        now + std::min(std::max(now / 2, Microseconds(1000)), tunables.max_downtime - now);
    return true;
}

// Takes a countermeasure against a stall: a harder throttle, or else a higher downtime limit.
// Returns false if the migration does not stall or no countermeasure is left; records since when
// none is.
bool Convergence::take_countermeasure(const RoundFigures& figures, const Tunables& tunables,
                                      bool throttles, Decision& decision) {
    if (!decision.stalled) {
        exhausted_at_.reset();
        return false;
    }
    if (throttles || raise_limit(tunables)) {
        exhausted_at_.reset();
        decision.downtime_limit = std::max(raised_limit_, tunables.downtime_limit);
        return true;
    }
    if (!exhausted_at_) exhausted_at_ = figures.elapsed - figures.outages;
    return false;
}

Decision Convergence::decide(const RoundFigures& figures, const Tunables& tunables,
                             const FixedCosts& costs, bool acked) {
    model_.add(figures, costs.round_trip);
    look_for_stall(figures);
    // If the user lowers max-downtime, a limit raised above it is no longer in force.
    raised_limit_ = std::min(raised_limit_, tunables.max_downtime);
    // The same holds for a throttle above a lowered max-cpu-throttle.
    throttle_ = std::min(throttle_, tunables.max_cpu_throttle);

    Decision decision;
    decision.bandwidth = model_.bandwidth(tunables);
    const Expectation expected = model_.expect(figures.dirty_pages, tunables, costs);
    const Expectation least = model_.expect(0, tunables, costs);
    decision.expected_downtime = expected.total();
    decision.smallest_limit = std::chrono::ceil<std::chrono::milliseconds>(expected.needed_limit());
    decision.downtime_limit = std::max(raised_limit_, tunables.downtime_limit);
    decision.obstacle = find_obstacle(expected, least, decision.downtime_limit);

    bool throttles = false;
    if (!tunables.auto_converge) {
        throttle_ = 0;
        rounds_over_threshold_ = 0;
    } else if (least.needed_limit() <= decision.downtime_limit) {
        // A throttle only helps if the limit is enough for the fixed costs, which no page changes.
        throttles = throttle_harder(figures, tunables);
    }
    // A migration that fits and only waits for the receiver does not stall: no
    // countermeasure would help.
    decision.stalled = decision.obstacle != Obstacle::kNone && rounds_without_gain_ >= kStallRounds;
    const Obstacle before = decision.obstacle;
    const bool took_countermeasure =
        !is_late(figures, tunables) && take_countermeasure(figures, tunables, throttles, decision);
    decision.exhausted_at = exhausted_at_;
    decision.cpu_throttle = throttle_;
    decision.obstacle = find_obstacle(expected, least, decision.downtime_limit);
    const bool may_switch = acked || !needs_ack_;
    if (decision.obstacle == Obstacle::kNone && !may_switch)
        decision.obstacle = Obstacle::kAcknowledgement;
    // Rounds converge while each leaves fewer pages than it sent, unless another obstacle exists.
    decision.next_round_helps =
        took_countermeasure || throttles ||
        (decision.obstacle == Obstacle::kDirtyRate && is_less(figures.dirty_pages, figures.pages));
    const Obstacle told = decision.obstacle == Obstacle::kNone ? before : decision.obstacle;
    if (told != Obstacle::kNone) {
        decision.reason = explain(told, figures, tunables, costs, expected, decision);
    }
    conclude(figures, tunables, may_switch, decision);
    extra_.note_round(decision.obstacle == Obstacle::kNone);
    shorten_pause(figures, tunables, costs, decision);
    return decision;
}

// Puts a switchover off by one round if the guest is then paused for a much shorter time.
void Convergence::shorten_pause(const RoundFigures& figures, const Tunables& tunables,
                                const FixedCosts& costs, Decision& decision) {
    if (!tunables.shorten_downtime || decision.action != Action::kSwitchOver ||
        is_late(figures, tunables)) {
        return;
    }
    if (!extra_.pays(figures, model_, tunables, costs)) return;
    // An extra round leaves few pages: rounds after a burst of writes are not compared with it.
    dirty_at_gain_ = UINT64_MAX;
    rounds_without_gain_ = 0;
    decision.action = Action::kNextRound;
    decision.next_round_helps = true;
}

// Sets the action of a decision whose other fields are complete.
void Convergence::conclude(const RoundFigures& figures, const Tunables& tunables, bool may_switch,
                           Decision& decision) const {
    const auto ms = [](Microseconds time) { return time.count() / 1000; };
    if (decision.obstacle == Obstacle::kNone) {
        decision.action = Action::kSwitchOver;
    } else if (is_late(figures, tunables)) {
        decision.action = tunables.on_deadline == OnDeadline::kSwitch && may_switch
                              ? Action::kSwitchOver
                              : Action::kGiveUp;
        decision.reason = fmt::format("the deadline of {} ms has passed: {}", ms(tunables.deadline),
                                      decision.reason);
    } else if (decision.stalled && tunables.stall_limit.count() != 0 && decision.exhausted_at &&
               figures.elapsed - figures.outages - *decision.exhausted_at >= tunables.stall_limit) {
        decision.action = Action::kGiveUp;
        decision.reason = fmt::format(
            "the migration does not converge and has no means left for {} ms (stall-limit): {}",
            ms(tunables.stall_limit), decision.reason);
    }
}

}  // namespace migrate::engine
