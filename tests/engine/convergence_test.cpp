// SPDX-License-Identifier: Apache-2.0
#include "engine/convergence/convergence.hpp"

#include <functional>
#include <limits>
#include <random>

#include "catch.hpp"
#include "tests/engine/convergence_rounds.hpp"

namespace migrate::engine {
namespace {

// The smallest whole millisecond of downtime-limit with which such a first round switches over.
std::int64_t smallest_limit(std::uint64_t dirty_pages, const FixedCosts& costs,
                            Microseconds collect_time = {}) {
    for (std::int64_t limit = 1; limit < 10'000; ++limit) {
        Rounds rounds;
        rounds.costs = costs;
        rounds.figures.collect_time = collect_time;
        rounds.tunables.downtime_limit = milliseconds(limit);
        if (rounds.after(dirty_pages).action == Action::kSwitchOver) return limit;
    }
    return 10'000;
}

TEST_CASE("the actions have names") {
    CHECK(name_of(Action::kNextRound) == "next-round");
    CHECK(name_of(Action::kSwitchOver) == "switchover");
    CHECK(name_of(Action::kGiveUp) == "give-up");
}

TEST_CASE("the guest is switched over as soon as the expectation fits the limit") {
    Rounds rounds;
    CHECK(rounds.after(kPagesPerSecond).action == Action::kNextRound);
    CHECK(rounds.after(kPagesPerSecond / 2).action == Action::kNextRound);
    const Decision decision = rounds.after(kPagesPerSecond / 10);
    CHECK(decision.action == Action::kSwitchOver);
    CHECK(decision.expected_downtime >= milliseconds(100));
    CHECK(decision.expected_downtime < decision.downtime_limit);
    CHECK(decision.bandwidth == static_cast<double>(kRate));
    CHECK_FALSE(decision.stalled);
}

TEST_CASE("an expectation that fits the limit only without its margin goes on") {
    Rounds rounds;
    const Decision decision = rounds.after(kPagesPerSecond * 28 / 100);
    CHECK(decision.expected_downtime < decision.downtime_limit);
    CHECK(decision.action == Action::kNextRound);
    CHECK(rounds.after(kPagesPerSecond * 20 / 100).action == Action::kSwitchOver);
}

TEST_CASE("no switchover begins before an acknowledgement that is needed") {
    Rounds rounds(true);
    for (int i = 0; i < 5; ++i) CHECK(rounds.after(0, false).action == Action::kNextRound);
    CHECK(rounds.after(0, true).action == Action::kSwitchOver);
    CHECK(Rounds(false).after(0, false).action == Action::kSwitchOver);
}

TEST_CASE("waiting for the acknowledgement is no stall, raises no limit and does not give up") {
    Rounds rounds(true);
    rounds.tunables.max_downtime = seconds(10);
    rounds.tunables.stall_limit = seconds(1);
    for (int i = 0; i < 10; ++i) {
        const Decision decision = rounds.after(5, false);
        CHECK(decision.action == Action::kNextRound);
        CHECK_FALSE(decision.stalled);
        CHECK(decision.downtime_limit == rounds.tunables.downtime_limit);
    }
    CHECK(rounds.after(5, true).action == Action::kSwitchOver);
}

TEST_CASE("every fixed cost counts") {
    const FixedCosts none;
    const std::int64_t least = smallest_limit(0, none);
    CHECK(least < 10);
    // For 80 ms more the limit has to give 100 ms more: there is a margin of a quarter.
    CHECK(smallest_limit(kPagesPerSecond * 8 / 100, none) == least + 100);
    CHECK(smallest_limit(0, {.load = milliseconds(80)}) == least + 100);
    CHECK(smallest_limit(0, {.digest = milliseconds(80)}) == least + 100);
    CHECK(smallest_limit(0, none, milliseconds(80)) == least + 100);
    // The guest waits for one and a half round trips, which are what they are: no margin.
    CHECK(smallest_limit(0, {.round_trip = milliseconds(80)}) == least + 120);
    CHECK(smallest_limit(0, {.round_trip = milliseconds(80), .round_trips = 2.5}) == least + 200);
    // And 7 for what the guest writes during the collect: 80 of 1080 ms' worth of those pages. 80
    // ms of the round's second were a round trip, so that the pages themselves take 8 less.
    CHECK(
        smallest_limit(
            kPagesPerSecond * 8 / 100,
            {.round_trip = milliseconds(80), .load = milliseconds(80), .digest = milliseconds(80)},
            milliseconds(80)) == least + 519);
}

TEST_CASE("two rounds without gain are a stall, one is not") {
    Rounds rounds;
    CHECK_FALSE(rounds.after(kStuck).stalled);
    CHECK_FALSE(rounds.after(kStuck).stalled);
    const Decision decision = rounds.after(kStuck);
    CHECK(decision.stalled);
    CHECK(decision.action == Action::kNextRound);
    // A gain ends it.
    CHECK_FALSE(rounds.after(kStuck / 2).stalled);
    CHECK_FALSE(rounds.after(kStuck / 2).stalled);
    CHECK(rounds.after(kStuck / 2).stalled);
}

TEST_CASE("a guest that dirties 6 % less each round does not stall") {
    for (const unsigned percent : {88U, 91U, 94U}) {
        Rounds rounds;
        rounds.tunables.stall_limit = seconds(1);
        rounds.tunables.max_downtime = seconds(9);
        std::uint64_t dirty = 64 * kPagesPerSecond;
        for (int i = 0; i < 20; ++i) {
            const Decision decision = rounds.after(dirty);
            CHECK_FALSE(decision.stalled);
            CHECK(decision.action == Action::kNextRound);
            CHECK(decision.downtime_limit == rounds.tunables.downtime_limit);
            dirty = dirty * percent / 100;
        }
    }
}

TEST_CASE("a gain below a tenth in two rounds is a stall") {
    Rounds rounds;
    CHECK_FALSE(rounds.after(1000 * kStuck).stalled);
    CHECK_FALSE(rounds.after(960 * kStuck).stalled);
    CHECK(rounds.after(920 * kStuck).stalled);
}

TEST_CASE("the reason of a stall holds the numbers") {
    Rounds rounds;
    CHECK_FALSE(rounds.after(kStuck).stalled);
    const std::string reason = rounds.stuck_for(2).reason;
    CHECK(has(reason, "dirties 100 MiB/s"));
    CHECK(has(reason, "carry 100 MiB/s"));
    CHECK(has(reason, "after round 3"));
    CHECK(has(reason, "100 MiB are left"));
    CHECK(has(reason, "1001 ms"));
    CHECK(has(reason, "downtime-limit is 300 ms"));
    CHECK(has(reason, "auto-converge is off"));
    CHECK_FALSE(has(reason, "throttled"));
    rounds.tunables.auto_converge = true;
    const std::string throttled = rounds.stuck_for(2).reason;
    CHECK(has(throttled, "throttled by 20 %"));
    CHECK_FALSE(has(throttled, "auto-converge is off"));
    // The rounds keep the limit, whatever the last one does.
    rounds.tunables.max_bandwidth = kRate / 2;
    CHECK(has(rounds.stuck_for(1).reason, "max-bandwidth is 50 MiB/s"));
}

TEST_CASE("the largest fixed cost above the limit is named, and neither rates nor the throttle") {
    const auto check = [](const FixedCosts& costs, Microseconds collect_time, Obstacle obstacle,
                          std::string_view word, std::string_view words) {
        Rounds rounds;
        rounds.costs = costs;
        rounds.figures.collect_time = collect_time;
        Decision decision;
        for (int i = 0; i < 5; ++i) decision = rounds.after(10);
        CHECK(decision.action == Action::kNextRound);
        CHECK(decision.stalled);
        CHECK(decision.obstacle == obstacle);
        CHECK(name_of(decision.obstacle) == word);
        CHECK_FALSE(decision.next_round_helps);
        CHECK(has(decision.reason, words));
        CHECK(has(decision.reason, "further rounds cannot shorten that"));
        CHECK(has(decision.reason, "the smallest that would work now is " +
                                       std::to_string(decision.smallest_limit.count() / 1000) +
                                       " ms"));
        CHECK_FALSE(has(decision.reason, "auto-converge"));
        CHECK_FALSE(has(decision.reason, "dirties"));
    };
    const Microseconds much = milliseconds(400);
    check({.round_trip = much}, {}, Obstacle::kRoundTrips, "round-trips",
          "the round trips to the receiver take too long");
    check({.load = much}, {}, Obstacle::kLoad, "load", "loading the guest at the receiver");
    check({.digest = much}, {}, Obstacle::kDigest, "digest", "the digest of all memory");
    check({}, much, Obstacle::kCollect, "collect", "asking what the guest wrote");
}

TEST_CASE("auto-converge does not throttle the guest if fewer dirty pages would not help") {
    Rounds rounds;
    rounds.tunables.auto_converge = true;
    rounds.costs.digest = seconds(1);
    for (int i = 0; i < 10; ++i) CHECK(rounds.after(kStuck).cpu_throttle == 0);
    // With a limit that allows for the digest it does.
    rounds.tunables.downtime_limit = milliseconds(1500);
    CHECK(rounds.stuck_for(2).cpu_throttle == 20);
}

TEST_CASE("a limit as the smallest one says switches over, and a millisecond less does not") {
    std::mt19937_64 random(20);
    const auto ms = [&](std::uint64_t most) {
        return Microseconds(static_cast<std::int64_t>(random() % (most * 1000 + 1)));
    };
    for (int turn = 0; turn < 500; ++turn) {
        Rounds rounds;
        rounds.tunables.downtime_limit = milliseconds(1);
        rounds.costs = {ms(200), ms(50), ms(500)};
        rounds.figures.collect_time = ms(100);
        rounds.after(random() % kPagesPerSecond);
        const RoundFigures figures = rounds.next(random() % kPagesPerSecond);
        Convergence same = rounds.convergence;
        Convergence less = rounds.convergence;
        const Decision decision = rounds.convergence.decide(figures, rounds.tunables, rounds.costs);
        REQUIRE(decision.action == Action::kNextRound);
        Tunables tunables = rounds.tunables;
        tunables.downtime_limit = decision.smallest_limit;
        CHECK(same.decide(figures, tunables, rounds.costs).action == Action::kSwitchOver);
        tunables.downtime_limit -= milliseconds(1);
        CHECK(less.decide(figures, tunables, rounds.costs).action == Action::kNextRound);
    }
}

TEST_CASE("a round trip in a small round is not taken for a slow link") {
    // 1 MiB/s of a guest on a link of 1 GiB/s and 100 ms: 25 pages a round.
    Rounds rounds;
    rounds.costs.round_trip = milliseconds(100);
    RoundFigures small = rounds.next(25);
    small.bytes = 1000 * kMiB;
    small.duration = milliseconds(1100);
    Decision decision = rounds.convergence.decide(small, rounds.tunables, rounds.costs);
    for (int i = 0; i < 8; ++i) {
        small.pages = small.normal_pages = 25;
        small.bytes = 25 * kPageSize;
        small.duration = milliseconds(100);
        decision = rounds.convergence.decide(small, rounds.tunables, rounds.costs);
    }
    CHECK(decision.expected_downtime <= milliseconds(165));
    CHECK(decision.bandwidth > 900 * static_cast<double>(kMiB));
    CHECK(decision.action == Action::kSwitchOver);
}

TEST_CASE("a link that has become slow is seen in small rounds") {
    Rounds rounds;
    RoundFigures figures = rounds.next(250);
    rounds.convergence.decide(figures, rounds.tunables, rounds.costs);
    Decision decision;
    for (int i = 0; i < 4; ++i) {
        figures.pages = figures.normal_pages = 250;
        figures.bytes = 250 * kPageSize;
        figures.duration = seconds(1);
        decision = rounds.convergence.decide(figures, rounds.tunables, rounds.costs);
    }
    CHECK(decision.expected_downtime >= milliseconds(900));
}

TEST_CASE("a first round that was a search for zeros is no measure of the channels") {
    Rounds rounds;
    RoundFigures figures = rounds.next(2500);
    figures.bytes = 10 * kMiB;
    figures.duration = seconds(10);
    CHECK(rounds.convergence.decide(figures, rounds.tunables, rounds.costs).action ==
          Action::kNextRound);
    figures.pages = figures.normal_pages = 2500;
    figures.bytes = 2500 * kPageSize;
    figures.duration = milliseconds(100);
    CHECK(rounds.convergence.decide(figures, rounds.tunables, rounds.costs).action ==
          Action::kSwitchOver);
}

TEST_CASE("a round helps while rounds shrink, and after a countermeasure") {
    Rounds rounds;
    CHECK(rounds.after(kStuck / 2).next_round_helps);
    CHECK_FALSE(rounds.after(kStuck).next_round_helps);
    rounds.tunables.max_downtime = milliseconds(310);
    rounds.after(kStuck);
    rounds.after(kStuck);
    CHECK_FALSE(rounds.after(kStuck).next_round_helps);
    Rounds raised;
    raised.tunables.max_downtime = milliseconds(600);
    raised.stuck_for(2);
    CHECK(raised.after(kStuck).next_round_helps);
    Rounds unacknowledged(true);
    const Decision waits = unacknowledged.after(0, false);
    CHECK_FALSE(waits.next_round_helps);
    CHECK(waits.obstacle == Obstacle::kAcknowledgement);
    CHECK(has(waits.reason, "switchover-ack"));
}

TEST_CASE("a stall that a raised limit ends has its reason too") {
    Rounds rounds;
    rounds.tunables.downtime_limit = seconds(1);
    rounds.tunables.max_downtime = seconds(2);
    const Decision decision = rounds.stuck_for(3);
    CHECK(decision.action == Action::kSwitchOver);
    CHECK(decision.stalled);
    CHECK(has(decision.reason, "downtime-limit is 1500 ms"));
}

TEST_CASE("a limit that the user raises switches over") {
    Rounds rounds;
    CHECK(rounds.stuck_for(5).action == Action::kNextRound);
    rounds.tunables.downtime_limit = seconds(2);
    CHECK(rounds.after(kStuck).action == Action::kSwitchOver);
}

TEST_CASE("the same figures give the same decisions") {
    const auto decisions = [] {
        Rounds rounds(true);
        rounds.tunables = {.max_downtime = milliseconds(700),
                           .auto_converge = true,
                           .cpu_throttle_initial = 50,
                           .stall_limit = seconds(20)};
        rounds.costs = {milliseconds(1), milliseconds(2), milliseconds(3)};
        std::string all;
        for (std::uint64_t i = 0; i < 60; ++i) {
            const Decision decision = rounds.after(kStuck / 2 + i * 7919 % 5000, i > 9);
            all += std::string(name_of(decision.action)) + ' ' +
                   std::to_string(decision.cpu_throttle) + ' ' +
                   std::to_string(decision.downtime_limit.count()) + ' ' +
                   std::to_string(decision.expected_downtime.count()) + ' ' +
                   std::to_string(decision.bandwidth) + ' ' + decision.reason + '\n';
        }
        return all;
    };
    const std::string first = decisions();
    CHECK(has(first, "switchover"));
    CHECK(decisions() == first);
}

TEST_CASE("a round of no time and no bytes has no bandwidth, and nothing fits but nothing") {
    Convergence convergence;
    const Tunables tunables;
    const FixedCosts costs;
    const RoundFigures empty;
    CHECK(empty.bytes_per_second() == 0);
    CHECK(empty.dirty_pages_per_second() == 0);
    RoundFigures dirty;
    dirty.dirty_pages = 1;
    CHECK(convergence.decide(dirty, tunables, costs).action == Action::kNextRound);
    CHECK(convergence.decide(empty, tunables, costs).action == Action::kSwitchOver);
}

TEST_CASE("an expectation before the first round counts on no bandwidth") {
    const Convergence convergence;
    CHECK(convergence.expect(0, {}, {}) < milliseconds(10));
    CHECK(convergence.expect(1, {}, {}) > seconds(60));
}

TEST_CASE("no number of pages is so large that it seems to be none") {
    for (const std::uint64_t pages :
         {std::uint64_t{1} << 51, std::uint64_t{1} << 52, UINT64_MAX / kPageSize, UINT64_MAX}) {
        Rounds rounds;
        rounds.tunables.auto_converge = true;
        CHECK(rounds.after(pages).expected_downtime > seconds(60));
        CHECK(rounds.after(pages).cpu_throttle == 20);
    }
}

TEST_CASE("figures at either end of their range are survived") {
    const std::vector<std::uint64_t> numbers{0, 1, kPagesPerSecond, UINT64_MAX / 4096, UINT64_MAX};
    const std::vector<Microseconds> times{Microseconds(0), Microseconds(1), seconds(1),
                                          std::chrono::hours(1'000'000)};
    Convergence convergence;
    Tunables tunables{.max_downtime = std::chrono::hours(1'000'000),
                      .auto_converge = true,
                      .deadline = std::chrono::hours(2'000'000),
                      .stall_limit = seconds(1)};
    RoundFigures figures;
    for (const std::uint64_t pages : numbers) {
        for (const std::uint64_t bytes : numbers) {
            for (const std::uint64_t dirty : numbers) {
                for (const Microseconds time : times) {
                    figures.round += 1;
                    figures.pages = figures.normal_pages = pages;
                    figures.bytes = bytes;
                    figures.dirty_pages = dirty;
                    figures.duration = figures.collect_time = time;
                    figures.elapsed += seconds(1);
                    tunables.avail_switchover_bandwidth = figures.round % 3 == 0 ? bytes : 0;
                    const Decision decision =
                        convergence.decide(figures, tunables, {time, time, time});
                    CHECK(decision.expected_downtime.count() > 0);
                    CHECK(decision.downtime_limit >= tunables.downtime_limit);
                    CHECK(decision.cpu_throttle <= tunables.max_cpu_throttle);
                    CHECK(decision.bandwidth >= 0);
                    CHECK(decision.bandwidth <= std::numeric_limits<double>::max());
                }
            }
        }
    }
}

TEST_CASE("an outage counts in no bandwidth and in no stall") {
    Rounds with;
    Rounds without;
    for (Rounds* rounds : {&with, &without}) {
        rounds->tunables.downtime_limit = milliseconds(1);
        rounds->tunables.stall_limit = seconds(20);
        static_cast<void>(rounds->stuck_for(4));
    }
    // A round whose channels were all lost for a minute, while the guest wrote twice as much.
    RoundFigures figures = with.next(2 * kStuck);
    figures.duration += seconds(60);
    figures.elapsed += seconds(60);
    figures.outage = figures.outages = seconds(60);
    with.figures = figures;
    CHECK(figures.bytes_per_second() == static_cast<double>(kRate));
    const Decision after = with.convergence.decide(figures, with.tunables, with.costs, true);
    const Decision same = without.after(2 * kStuck);
    CHECK(after.bandwidth == same.bandwidth);
    CHECK(after.expected_downtime == same.expected_downtime);
    CHECK(after.action == Action::kNextRound);
    CHECK_FALSE(after.stalled);
    with.figures.outage = {};
    CHECK(with.stuck_for(10).action == Action::kNextRound);
    // The stall's own time still ends it.
    CHECK(with.stuck_for(30).action == Action::kGiveUp);
}

}  // namespace
}  // namespace migrate::engine
