// SPDX-License-Identifier: Apache-2.0
// The countermeasures against a stall, one by one, and the end of a migration that has none left.
#include "catch.hpp"
#include "tests/engine/convergence_rounds.hpp"

namespace migrate::engine {
namespace {

TEST_CASE("auto-converge begins with the initial throttle and adds increments up to its maximum") {
    Rounds rounds;
    rounds.tunables.auto_converge = true;
    rounds.tunables.cpu_throttle_initial = 25;
    rounds.tunables.cpu_throttle_increment = 30;
    rounds.tunables.max_cpu_throttle = 90;
    std::vector<unsigned> throttles;
    for (int i = 0; i < 10; ++i) throttles.push_back(rounds.after(kStuck).cpu_throttle);
    CHECK(throttles == std::vector<unsigned>{0, 25, 25, 55, 55, 85, 85, 90, 90, 90});
}

TEST_CASE("pages that were postponed count for the throttle as if they had been sent") {
    Rounds rounds;
    rounds.tunables.auto_converge = true;
    constexpr std::uint64_t kHot = kPagesPerSecond / 4;
    for (int i = 0; i < 4; ++i) {
        RoundFigures figures = rounds.next(kHot);
        // The guest has written again all but a hundredth of what was to be sent.
        figures.postponed_pages = figures.pages - figures.pages / 100;
        figures.normal_pages = figures.pages / 100;
        figures.bytes = figures.normal_pages * kPageSize;
        CHECK(figures.sent_pages() == figures.normal_pages);
        CHECK(figures.planned_bytes() == Approx(static_cast<double>(kRate)));
        CHECK(rounds.convergence.decide(figures, rounds.tunables, rounds.costs).cpu_throttle == 0);
    }
    RoundFigures none;
    none.pages = none.postponed_pages = 10;
    CHECK(none.planned_bytes() == Approx(10 * kPageSize));
    // With compression a page takes fewer bytes.
    none.pages = 20;
    none.normal_pages = 10;
    none.bytes = 10 * kPageSize / 4;
    CHECK(none.planned_bytes() == Approx(20 * kPageSize / 4));
}

TEST_CASE("a throttle falls only to a lowered maximum, and with auto-converge itself") {
    Rounds rounds;
    rounds.tunables.auto_converge = true;
    CHECK(rounds.stuck_for(4).cpu_throttle == 30);
    for (int i = 0; i < 4; ++i) CHECK(rounds.after(kStuck / 3).cpu_throttle == 30);
    rounds.tunables.max_cpu_throttle = 10;
    CHECK(rounds.after(kStuck).cpu_throttle == 10);
    CHECK(rounds.stuck_for(4).cpu_throttle == 10);
    rounds.tunables.auto_converge = false;
    CHECK(rounds.after(kStuck).cpu_throttle == 0);
    rounds.tunables = Tunables{.auto_converge = true};
    CHECK(rounds.after(kStuck).cpu_throttle == 0);
    CHECK(rounds.after(kStuck).cpu_throttle == 20);
}

TEST_CASE("a guest that dirties less than the threshold is not throttled") {
    Rounds rounds;
    rounds.tunables.auto_converge = true;
    for (int i = 0; i < 8; ++i) CHECK(rounds.after(kPagesPerSecond / 2).cpu_throttle == 0);
    rounds.tunables.throttle_trigger_threshold = 49;
    CHECK(rounds.after(kPagesPerSecond / 2).cpu_throttle == 0);
    CHECK(rounds.after(kPagesPerSecond / 2).cpu_throttle == 20);
}

TEST_CASE("one round over the threshold is chance") {
    Rounds rounds;
    rounds.tunables.auto_converge = true;
    for (int i = 0; i < 6; ++i) {
        CHECK(rounds.after(i % 2 == 0 ? kStuck : kStuck / 3).cpu_throttle == 0);
    }
}

TEST_CASE("without auto-converge a stall raises the limit step by step up to max-downtime") {
    Rounds rounds;
    rounds.tunables.max_downtime = milliseconds(700);
    CHECK(rounds.stuck_for(2).downtime_limit == milliseconds(300));
    CHECK(rounds.after(kStuck).downtime_limit == milliseconds(450));
    CHECK(rounds.after(kStuck).downtime_limit == milliseconds(675));
    CHECK(rounds.after(kStuck).downtime_limit == milliseconds(700));
    CHECK(rounds.after(kStuck).downtime_limit == milliseconds(700));
    CHECK(rounds.stuck_for(5).action == Action::kNextRound);
    CHECK(rounds.after(kStuck / 2).action == Action::kSwitchOver);
}

TEST_CASE("a limit without a max-downtime is not raised") {
    Rounds rounds;
    for (int i = 0; i < 20; ++i) {
        CHECK(rounds.after(kStuck).downtime_limit == rounds.tunables.downtime_limit);
    }
}

TEST_CASE("a raised limit is taken back with max-downtime") {
    Rounds rounds;
    rounds.tunables.max_downtime = milliseconds(900);
    CHECK(rounds.stuck_for(6).downtime_limit == milliseconds(900));
    rounds.tunables.max_downtime = milliseconds(500);
    CHECK(rounds.after(kStuck).downtime_limit == milliseconds(500));
    rounds.tunables.max_downtime = {};
    CHECK(rounds.after(kStuck).downtime_limit == milliseconds(300));
}

TEST_CASE("with auto-converge the limit is raised only after the throttle is at its maximum") {
    Rounds rounds;
    rounds.tunables.auto_converge = true;
    rounds.tunables.max_downtime = milliseconds(900);
    unsigned throttle = 0;
    for (int i = 0; throttle < 99; ++i) {
        REQUIRE(i < 100);
        const Decision decision = rounds.after(kStuck);
        throttle = decision.cpu_throttle;
        CHECK(decision.downtime_limit == milliseconds(300));
    }
    CHECK(rounds.after(kStuck).downtime_limit == milliseconds(450));
    CHECK(rounds.stuck_for(3).downtime_limit == milliseconds(900));
}

TEST_CASE("auto-converge does not prevent other countermeasures if there is nothing to throttle") {
    // An idle guest, whose fixed costs are too high for the limit.
    Rounds rounds;
    rounds.tunables.auto_converge = true;
    rounds.tunables.stall_limit = seconds(3);
    rounds.costs.load = milliseconds(800);
    const auto idle_until_decided = [](Rounds& idle) {
        Decision decision;
        for (int i = 0; i < 20 && decision.action == Action::kNextRound; ++i) {
            decision = idle.after(0);
            CHECK(decision.cpu_throttle == 0);
        }
        return decision.action;
    };
    Rounds raised = rounds;
    raised.tunables.max_downtime = seconds(2);
    CHECK(idle_until_decided(raised) == Action::kSwitchOver);
    CHECK(idle_until_decided(rounds) == Action::kGiveUp);
}

TEST_CASE("a throttle that cannot grow is no countermeasure") {
    Rounds rounds;
    rounds.tunables.auto_converge = true;
    rounds.tunables.cpu_throttle_increment = 0;
    rounds.tunables.max_downtime = milliseconds(400);
    CHECK(rounds.stuck_for(6).downtime_limit == milliseconds(400));
}

TEST_CASE("a deadline that passes gives up, with the reason") {
    Rounds rounds;
    rounds.tunables.deadline = milliseconds(3500);
    CHECK(rounds.stuck_for(3).action == Action::kNextRound);
    const Decision decision = rounds.after(kStuck);
    CHECK(decision.action == Action::kGiveUp);
    CHECK(has(decision.reason, "deadline of 3500 ms"));
    CHECK(has(decision.reason, "100 MiB are left"));
}

TEST_CASE("a deadline that passes switches over where that is asked for") {
    Rounds rounds;
    rounds.tunables.deadline = seconds(2);
    rounds.tunables.on_deadline = OnDeadline::kSwitch;
    CHECK(rounds.after(kStuck).action == Action::kNextRound);
    CHECK(rounds.after(kStuck).action == Action::kSwitchOver);
}

TEST_CASE("a deadline switches nothing over to a receiver that cannot run the guest") {
    Rounds rounds(true);
    rounds.tunables.deadline = seconds(1);
    rounds.tunables.on_deadline = OnDeadline::kSwitch;
    const Decision decision = rounds.after(0, false);
    CHECK(decision.action == Action::kGiveUp);
    CHECK(has(decision.reason, "deadline"));
}

TEST_CASE("a migration whose rest fits when the deadline passes is switched over") {
    Rounds rounds;
    rounds.tunables.deadline = seconds(1);
    CHECK(rounds.after(10).action == Action::kSwitchOver);
}

TEST_CASE("a stall without further countermeasures ends after stall-limit") {
    Rounds rounds;
    rounds.tunables.stall_limit = seconds(4);
    // It is stalled from the third second on.
    CHECK(rounds.stuck_for(6).action == Action::kNextRound);
    const Decision decision = rounds.after(kStuck);
    CHECK(decision.action == Action::kGiveUp);
    CHECK(has(decision.reason, "4000 ms (stall-limit)"));
    CHECK(has(decision.reason, "dirties 100 MiB/s"));
}

TEST_CASE("a stall is never given up without a stall-limit") {
    Rounds rounds;
    for (int i = 0; i < 1000; ++i) CHECK(rounds.after(kStuck).action == Action::kNextRound);
}

TEST_CASE("the wait for stall-limit begins with the last countermeasure") {
    Rounds rounds;
    rounds.tunables.auto_converge = true;
    rounds.tunables.cpu_throttle_initial = 99;
    rounds.tunables.max_downtime = milliseconds(450);
    rounds.tunables.stall_limit = seconds(1);
    // Throttled in the second round, the limit raised in the third, nothing left from the fourth.
    CHECK(rounds.stuck_for(4).action == Action::kNextRound);
    CHECK(rounds.after(kStuck).action == Action::kGiveUp);
}

TEST_CASE("a gain ends the wait for stall-limit") {
    Rounds rounds;
    rounds.tunables.stall_limit = seconds(4);
    CHECK(rounds.stuck_for(6).action == Action::kNextRound);
    CHECK(rounds.after(kStuck / 2).action == Action::kNextRound);
    CHECK(rounds.stuck_for(5).action == Action::kNextRound);
    CHECK(rounds.after(kStuck).action == Action::kGiveUp);
}

TEST_CASE("a countermeasure that changed tunables allow ends the wait for stall-limit") {
    const auto check = [](const std::function<void(Tunables&)>& change) {
        Rounds rounds;
        rounds.tunables.stall_limit = seconds(4);
        CHECK(rounds.stuck_for(6).action == Action::kNextRound);
        change(rounds.tunables);
        // A countermeasure is taken in the seventh round. None is left then, so a new wait begins.
        int waited = 0;
        while (rounds.after(kStuck).action == Action::kNextRound && waited < 100) ++waited;
        CHECK(waited >= 4);
        CHECK(waited < 100);
    };
    check([](Tunables& tunables) { tunables.max_downtime = milliseconds(310); });
    check([](Tunables& tunables) { tunables.auto_converge = true; });
}

}  // namespace
}  // namespace migrate::engine
