// SPDX-License-Identifier: Apache-2.0
// The pace of a whole migration in made-up time: a guest, a link and a receiver as a few numbers.
#include "engine/convergence/round_pacing.hpp"

#include <algorithm>
#include <cmath>

#include "catch.hpp"
#include "tests/engine/convergence_rounds.hpp"

namespace migrate::engine {
namespace {

// The conditions of a migration, and its result.
struct Simulated {
    double dirty_rate = 1 * kMiB;    // bytes a second
    double working_set = 64 * kMiB;  // no more than this is dirty
    double bandwidth = 1000 * kMiB;
    Microseconds round_trip{};
    Microseconds overhead{500};  // of a round, beside its bytes and the round trip
    Microseconds collect{100};
    Tunables tunables{};
    FixedCosts costs{};

    std::uint64_t rounds = 0;
    Microseconds elapsed{};
    Microseconds busy{};
    Decision last{};

    void run(Microseconds time) {
        Convergence convergence;
        RoundPacing pacing;
        costs.round_trip = round_trip;
        double to_send = working_set;
        while (elapsed < time) {
            const double transfer = to_send / bandwidth;
            RoundFigures figures{.round = static_cast<std::uint32_t>(++rounds)};
            figures.pages = figures.normal_pages = pages(to_send);
            figures.bytes = figures.pages * (kPageSize + 8) + 80;
            figures.duration =
                round_trip + overhead + Microseconds(static_cast<std::int64_t>(transfer * 1e6));
            figures.collect_time = collect;
            const Microseconds cycle = figures.duration + collect;
            elapsed += cycle;
            busy += cycle;
            figures.dirty_pages = pages(dirtied(cycle));
            figures.elapsed = elapsed;
            last = convergence.decide(figures, tunables, costs);
            if (last.action != Action::kNextRound) return;
            const Microseconds wait = pacing.wait_after(figures, last);
            elapsed += wait;
            to_send = dirtied(cycle + wait);
        }
    }
    double dirtied(Microseconds during) const {
        return std::min(working_set, dirty_rate * static_cast<double>(during.count()) / 1e6);
    }
    static std::uint64_t pages(double bytes) {
        return static_cast<std::uint64_t>(std::ceil(bytes / kPageSize));
    }
};

TEST_CASE("a limit that fixed costs exceed takes few rounds, however quick they are") {
    for (const int limit_ms : {1, 2, 3}) {
        Simulated run;
        run.tunables.downtime_limit = milliseconds(limit_ms);
        run.costs.load = milliseconds(2);
        run.run(seconds(60));
        INFO(limit_ms << " ms: " << run.rounds << " rounds, " << run.last.reason);
        CHECK(run.last.action == Action::kNextRound);
        CHECK(run.rounds < 30);
        CHECK(run.last.stalled);
        CHECK(run.last.obstacle == Obstacle::kLoad);
    }
}

TEST_CASE("the smallest limit that a stall names is one that works") {
    for (const Microseconds round_trip : {Microseconds(50), Microseconds(100'000)}) {
        for (const Microseconds digest : {Microseconds(0), Microseconds(400'000)}) {
            Simulated run;
            run.round_trip = round_trip;
            run.costs.load = milliseconds(2);
            run.costs.digest = digest;
            run.tunables.downtime_limit = milliseconds(1);
            run.run(seconds(20));
            REQUIRE(run.last.action == Action::kNextRound);
            Simulated again;
            again.round_trip = round_trip;
            again.costs = run.costs;
            again.tunables.downtime_limit = run.last.smallest_limit;
            again.run(seconds(20));
            INFO(run.last.smallest_limit.count() << " us: " << run.last.reason);
            CHECK(again.last.action == Action::kSwitchOver);
            // And it is small: a millisecond less, and what rounds differ by, does not.
            Simulated tight;
            tight.round_trip = round_trip;
            tight.costs = run.costs;
            tight.tunables.downtime_limit = run.last.smallest_limit - milliseconds(2);
            tight.run(seconds(20));
            CHECK(tight.last.action == Action::kNextRound);
        }
    }
}

TEST_CASE("an almost idle guest switches over with the defaults at a round trip of 100 ms") {
    for (const int round_trip_ms : {1, 20, 50, 100, 150, 180}) {
        Simulated run;
        run.round_trip = milliseconds(round_trip_ms);
        run.costs.load = milliseconds(2);
        run.run(seconds(60));
        INFO(round_trip_ms << " ms: " << run.rounds << " rounds, " << run.last.reason);
        CHECK(run.last.action == Action::kSwitchOver);
        CHECK(run.rounds <= 3);
        // One and a half round trips, and what is left of the rest.
        CHECK(run.last.expected_downtime <= round_trip_ms * milliseconds(3) / 2 + milliseconds(6));
    }
    Simulated far;
    far.round_trip = milliseconds(250);
    far.tunables.auto_converge = false;
    far.run(seconds(60));
    CHECK(far.last.action == Action::kNextRound);
    CHECK(far.last.obstacle == Obstacle::kRoundTrips);
    CHECK(has(far.last.reason, "round trips to the receiver take too long"));
    CHECK(has(far.last.reason, "1.5 round trips of 250 ms take 375 ms"));
    CHECK_FALSE(has(far.last.reason, "auto-converge"));
    CHECK(far.rounds < 30);
}

TEST_CASE("a guest that only writes too much is sent without a wait while rounds shrink") {
    Simulated run;
    run.dirty_rate = 0.85 * 100 * kMiB;
    run.bandwidth = 100 * kMiB;
    run.working_set = 1000 * kMiB;
    run.run(seconds(200));
    CHECK(run.last.action == Action::kSwitchOver);
    CHECK(run.elapsed == run.busy);
}

TEST_CASE("rounds that gain nothing leave the link no more than idle for half of the time") {
    Simulated run;
    run.dirty_rate = 200 * kMiB;
    run.bandwidth = 100 * kMiB;
    run.run(seconds(60));
    CHECK(run.last.action == Action::kNextRound);
    CHECK(run.last.obstacle == Obstacle::kDirtyRate);
    CHECK(run.rounds > 30);
    CHECK(run.busy * 2 >= run.elapsed);
}

TEST_CASE("a limit just below what quick rounds reach is tried about once a second") {
    Simulated run;
    run.dirty_rate = 60 * kMiB;
    run.bandwidth = 100 * kMiB;
    run.costs.load = milliseconds(2);
    run.tunables.downtime_limit = milliseconds(5);
    run.run(seconds(60));
    INFO(run.rounds << " rounds, " << run.last.reason);
    CHECK(run.last.action == Action::kNextRound);
    CHECK(run.last.obstacle == Obstacle::kDirtyRate);
    CHECK(run.rounds > 60);
    CHECK(run.rounds < 1000);
}

TEST_CASE("a throttle that grows is not held up") {
    Simulated run;
    run.dirty_rate = 300 * kMiB;
    run.bandwidth = 100 * kMiB;
    run.tunables.auto_converge = true;
    run.run(seconds(15));
    CHECK(run.last.cpu_throttle == 99);
    CHECK(run.elapsed - run.busy < seconds(2));
}

TEST_CASE("waits double up to their limit, and begin anew after other parameters") {
    RoundPacing pacing;
    Decision decision{.obstacle = Obstacle::kRoundTrips, .next_round_helps = false, .reason = {}};
    const RoundFigures quick{.pages = 10, .duration = Microseconds(10)};
    CHECK(pacing.wait_after(quick, decision) == RoundPacing::kFirstInterval);
    CHECK(pacing.wait_after(quick, decision) == 2 * RoundPacing::kFirstInterval);
    for (int i = 0; i < 20; ++i) pacing.wait_after(quick, decision);
    CHECK(pacing.wait_after(quick, decision) == RoundPacing::kLongestFixedInterval);
    decision.obstacle = Obstacle::kDirtyRate;
    CHECK(pacing.wait_after(quick, decision) == RoundPacing::kLongestInterval);
    pacing.reset();
    CHECK(pacing.wait_after(quick, decision) == RoundPacing::kFirstInterval);
    decision.next_round_helps = true;
    CHECK(pacing.wait_after(quick, decision).count() == 0);
}

TEST_CASE("a look at memory that takes long is not taken again before it was worth it") {
    RoundPacing pacing;
    const Decision decision{
        .obstacle = Obstacle::kCollect, .next_round_helps = false, .reason = {}};
    const RoundFigures slow{.pages = 10, .duration = milliseconds(1), .collect_time = seconds(2)};
    CHECK(pacing.wait_after(slow, decision) >= seconds(2));
    // The first round's time is no measure of the next one's.
    RoundPacing fresh;
    const RoundFigures first{.pages = 1'000'000, .duration = seconds(100), .dirty_pages = 10};
    CHECK(fresh.wait_after(first, decision) < milliseconds(60));
}

}  // namespace
}  // namespace migrate::engine
