// SPDX-License-Identifier: Apache-2.0
// The downtime that a decision expects, from the rounds that were measured.
#include "engine/convergence/downtime_model.hpp"

#include "catch.hpp"
#include "tests/engine/convergence_rounds.hpp"

namespace migrate::engine {
namespace {

TEST_CASE("a bandwidth that the user states goes before the measured one") {
    Rounds rounds;
    rounds.tunables.avail_switchover_bandwidth = 10 * kRate;
    const Decision decision = rounds.after(kPagesPerSecond);
    CHECK(decision.bandwidth == static_cast<double>(10 * kRate));
    CHECK(decision.action == Action::kSwitchOver);
}

TEST_CASE("the tails of limited rounds tell how fast the last round will be") {
    Rounds rounds;
    rounds.tunables.max_bandwidth = kRate;
    // 10 MiB in 10 ms: ten times the limit.
    rounds.figures.tail_bytes = kRate / 10;
    rounds.figures.tail_time = milliseconds(10);
    const Decision within = rounds.after(kPagesPerSecond / 2);
    CHECK(within.bandwidth == 10 * static_cast<double>(kRate));
    CHECK(within.expected_downtime < milliseconds(53));
    CHECK(within.action == Action::kSwitchOver);
    // A tail says nothing about more than 16 times its bytes: the rest takes its time at the limit.
    const Decision beyond = rounds.after(2 * kPagesPerSecond);
    CHECK(beyond.expected_downtime > milliseconds(560));
    CHECK(beyond.expected_downtime < milliseconds(570));
    // They count for nothing once there is no limit, and if the user states the bandwidth.
    rounds.tunables.max_bandwidth = 0;
    CHECK(rounds.after(kPagesPerSecond / 2).bandwidth == static_cast<double>(kRate));
    rounds.tunables.max_bandwidth = kRate;
    rounds.tunables.avail_switchover_bandwidth = 2 * kRate;
    const Decision stated = rounds.after(kPagesPerSecond / 2);
    CHECK(stated.bandwidth == 2 * static_cast<double>(kRate));
    CHECK(stated.expected_downtime > milliseconds(250));
}

TEST_CASE("the slower one of the last two tails counts") {
    Rounds rounds;
    rounds.tunables.max_bandwidth = kRate;
    rounds.figures.tail_bytes = kRate / 10;
    const auto bandwidth_after = [&rounds](milliseconds tail) {
        rounds.figures.tail_time = tail;
        return rounds.after(kPagesPerSecond).bandwidth / static_cast<double>(kRate);
    };
    CHECK(bandwidth_after(milliseconds(20)) == Approx(5));
    CHECK(bandwidth_after(milliseconds(10)) == Approx(5));
    CHECK(bandwidth_after(milliseconds(10)) == Approx(10));
    CHECK(bandwidth_after(milliseconds(50)) == Approx(2));
}

TEST_CASE("a tail that was slower than its round does not lengthen the expected downtime") {
    Rounds rounds;
    rounds.tunables.max_bandwidth = kRate;
    const Microseconds without = rounds.after(1000).expected_downtime;
    rounds.figures.tail_bytes = kPageSize;
    rounds.figures.tail_time = milliseconds(200);
    CHECK(rounds.after(1000).expected_downtime == without);
}

TEST_CASE("a small round does not spoil the measured bandwidth") {
    Rounds rounds;
    rounds.after(kStuck);
    RoundFigures small = rounds.next(kStuck);
    small.pages = small.normal_pages = 1;
    small.bytes = kPageSize;
    const Decision decision = rounds.convergence.decide(small, rounds.tunables, rounds.costs, true);
    CHECK(decision.bandwidth == static_cast<double>(kRate));
}

TEST_CASE("the newest round that moved much measures the channels, not the first and largest one") {
    Rounds rounds;
    rounds.after(kStuck);
    // The first round filled fresh memory; this one moves a quarter of its bytes in a tenth of the
    // time.
    RoundFigures second = rounds.next(kStuck / 4);
    second.pages = second.normal_pages = kPagesPerSecond / 4;
    second.bytes = kRate / 4;
    second.duration = milliseconds(100);
    const Decision faster = rounds.convergence.decide(second, rounds.tunables, rounds.costs, true);
    CHECK(faster.bandwidth == 2.5 * static_cast<double>(kRate));
    CHECK(faster.expected_downtime < milliseconds(110));
    // The path has become slower: this counts at once, too.
    RoundFigures third = rounds.next(kStuck / 4);
    third.pages = third.normal_pages = kPagesPerSecond / 4;
    third.bytes = kRate / 4;
    third.duration = milliseconds(500);
    const Decision slower = rounds.convergence.decide(third, rounds.tunables, rounds.costs, true);
    CHECK(slower.bandwidth == 0.5 * static_cast<double>(kRate));
}

TEST_CASE("writes during a long collect are expected in the last round, too") {
    const auto expected = [](Microseconds collect_time) {
        Rounds rounds;
        rounds.figures.collect_time = collect_time;
        return rounds.after(10'000).expected_downtime - collect_time;
    };
    CHECK(expected(milliseconds(200)) > expected(milliseconds(0)) + milliseconds(1));
}

TEST_CASE("pages that compress well are expected to do so in the last round") {
    Rounds rounds;
    RoundFigures plain = rounds.next(kStuck);
    RoundFigures compressed = plain;
    compressed.normal_pages = 4 * plain.normal_pages;
    Convergence other;
    const Decision with = other.decide(compressed, rounds.tunables, rounds.costs);
    const Decision without = rounds.convergence.decide(plain, rounds.tunables, rounds.costs);
    CHECK(with.expected_downtime < without.expected_downtime / 3);
}

TEST_CASE("a collect that was short by chance switches nothing over") {
    Rounds rounds;
    rounds.figures.collect_time = milliseconds(260);
    rounds.after(0);
    rounds.figures.collect_time = milliseconds(80);
    CHECK(rounds.after(0).action == Action::kNextRound);
    // The collection before the last one says little: the first round's finds far more pages.
    CHECK(rounds.after(0).action == Action::kSwitchOver);
}

TEST_CASE("writes of the guest while pages are collected do not add to its rate") {
    RoundFigures figures{
        .duration = milliseconds(40), .collect_time = milliseconds(160), .dirty_pages = 10'000};
    CHECK(figures.dirty_pages_per_second() == 50'000);
    figures.duration = figures.collect_time = {};
    CHECK(figures.dirty_pages_per_second() == 0);
}

}  // namespace
}  // namespace migrate::engine
