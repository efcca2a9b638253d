// SPDX-License-Identifier: Apache-2.0
// Rounds that a migration sends although it could switch over, to pause the guest for a shorter
// time.
#include "catch.hpp"
#include "tests/engine/convergence_rounds.hpp"

namespace migrate::engine {
namespace {

// A migration of 10 s so far, whose channels carry kRate.
struct LongRounds : Rounds {
    LongRounds() {
        tunables.shorten_downtime = true;
        figures.elapsed = seconds(9);
    }
    // Takes a round that sent `pages` in proportional time and left `dirty_pages`.
    Decision sent(std::uint64_t pages, std::uint64_t dirty_pages) {
        figures.round += 1;
        figures.pages = figures.normal_pages = pages;
        figures.bytes = pages * kPageSize;
        figures.duration = Microseconds(1'000'000 * pages / kPagesPerSecond);
        figures.dirty_pages = dirty_pages;
        figures.elapsed += figures.duration;
        return convergence.decide(figures, tunables, costs);
    }
};

TEST_CASE("rounds that shrink go on below the limit until the pause is short") {
    LongRounds rounds;
    Decision decision = rounds.after(kPagesPerSecond / 5);
    CHECK(decision.action == Action::kNextRound);
    CHECK(decision.obstacle == Obstacle::kNone);
    CHECK(decision.next_round_helps);
    CHECK_FALSE(decision.stalled);
    CHECK(decision.expected_downtime < decision.downtime_limit);
    std::uint64_t dirty = kPagesPerSecond / 5;
    int extra = 0;
    for (; extra < 20 && decision.action == Action::kNextRound; ++extra) {
        decision = rounds.sent(dirty, dirty / 5);
        dirty /= 5;
    }
    CHECK(decision.action == Action::kSwitchOver);
    CHECK(extra >= 2);
    CHECK(extra <= 5);
    CHECK(decision.expected_downtime < milliseconds(4));
}

TEST_CASE("without shorten-downtime the guest is switched over as soon as the limit allows it") {
    LongRounds rounds;
    rounds.tunables.shorten_downtime = false;
    CHECK(rounds.after(kPagesPerSecond / 5).action == Action::kSwitchOver);
}

TEST_CASE("a guest that writes the same pages again gets one extra round and no more") {
    LongRounds rounds;
    const std::uint64_t hot = kPagesPerSecond / 5;
    CHECK(rounds.after(hot).action == Action::kNextRound);
    CHECK(rounds.sent(hot, hot).action == Action::kSwitchOver);
}

TEST_CASE("extra rounds take at most a tenth of the time so far, all together") {
    LongRounds rounds;
    rounds.figures.elapsed = {};
    // The next round would take 200 ms, and 1 s has passed.
    CHECK(rounds.after(kPagesPerSecond / 5).action == Action::kSwitchOver);

    LongRounds slow;
    Decision decision = slow.after(kPagesPerSecond * 22 / 100);
    const Microseconds began = slow.figures.elapsed;
    for (int i = 0; i < 50 && decision.action == Action::kNextRound; ++i) {
        decision = slow.sent(slow.figures.dirty_pages, slow.figures.dirty_pages * 45 / 100);
    }
    CHECK(decision.action == Action::kSwitchOver);
    CHECK(slow.figures.elapsed - began <= slow.figures.elapsed / 10 + milliseconds(50));
}

TEST_CASE("a pause that further rounds cannot shorten comes at once") {
    LongRounds rounds;
    rounds.costs.load = milliseconds(150);
    CHECK(rounds.after(kPagesPerSecond / 100).action == Action::kSwitchOver);
    LongRounds idle;
    CHECK(idle.after(0).action == Action::kSwitchOver);
}

TEST_CASE("an extra round and the switchover after it end before the deadline") {
    LongRounds rounds;
    rounds.tunables.deadline = milliseconds(10'500);
    // 10 s have passed. The round would take 200 ms and the switchover after it a few.
    CHECK(rounds.after(kPagesPerSecond / 5).action == Action::kNextRound);
    LongRounds late;
    late.tunables.deadline = milliseconds(10'300);
    CHECK(late.after(kPagesPerSecond / 5).action == Action::kSwitchOver);
}

TEST_CASE("a guest that writes in bursts is switched over the next time that it fits") {
    LongRounds rounds;
    CHECK(rounds.after(kPagesPerSecond / 5).action == Action::kNextRound);
    CHECK(rounds.sent(kPagesPerSecond / 5, kPagesPerSecond).action == Action::kNextRound);
    CHECK(rounds.sent(kPagesPerSecond, kPagesPerSecond / 5).action == Action::kSwitchOver);
}

TEST_CASE("rounds that shrink after a burst are no stall, however small an extra round was") {
    LongRounds rounds;
    Decision decision = rounds.after(kPagesPerSecond / 5);
    decision = rounds.sent(kPagesPerSecond / 5, kPagesPerSecond / 50);
    REQUIRE(decision.action == Action::kNextRound);
    for (const std::uint64_t left : {20U, 10U, 7U, 5U}) {
        decision = rounds.sent(kPagesPerSecond, left * kPagesPerSecond);
        CHECK(decision.action == Action::kNextRound);
        CHECK_FALSE(decision.stalled);
    }
}

TEST_CASE("a round's time counts for its pages with content, not for those without") {
    LongRounds rounds;
    rounds.tunables.downtime_limit = seconds(10);
    RoundFigures figures = rounds.next(kPagesPerSecond / 5);
    // Nine tenths of the pages were never touched: the next round takes ten times as long.
    figures.pages = 10 * kPagesPerSecond;
    figures.duration = seconds(10);
    figures.bytes = kRate;
    CHECK(rounds.convergence.decide(figures, rounds.tunables, rounds.costs).action ==
          Action::kSwitchOver);
}

TEST_CASE("no extra round begins after the deadline") {
    LongRounds rounds;
    rounds.tunables.deadline = seconds(1);
    rounds.tunables.on_deadline = OnDeadline::kSwitch;
    CHECK(rounds.after(kPagesPerSecond / 5).action == Action::kSwitchOver);
}

}  // namespace
}  // namespace migrate::engine
