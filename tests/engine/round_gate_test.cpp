// SPDX-License-Identifier: Apache-2.0
#include "engine/round_gate.hpp"

#include <atomic>
#include <thread>
#include <vector>

#include "catch.hpp"

namespace migrate::engine {
namespace {

TEST_CASE("no worker is in a round before all have arrived in the one before") {
    constexpr unsigned kWorkers = 6;
    constexpr std::uint32_t kRounds = 200;
    RoundGate gate(kWorkers);
    const std::stop_source stop;
    std::atomic<unsigned> done{0};
    std::atomic<bool> early{false};
    std::vector<std::jthread> workers;
    for (unsigned i = 0; i < kWorkers; ++i) {
        workers.emplace_back([&, i] {
            std::uint32_t last = 0;
            while (const auto round = gate.next_round(i, last, stop.get_token())) {
                if (*round != last + 1 || done.load() < (*round - 1) * kWorkers) early = true;
                last = *round;
                ++done;
                gate.arrive();
            }
        });
    }
    for (std::uint32_t round = 1; round <= kRounds; ++round) {
        gate.open(round);
        REQUIRE(gate.wait_for_all(stop.get_token()));
        REQUIRE(done == round * kWorkers);
    }
    gate.close();
    workers.clear();
    CHECK_FALSE(early);
    CHECK(done == kRounds * kWorkers);
}

TEST_CASE("stop wakes workers and the coordinator") {
    RoundGate gate(2);
    std::stop_source stop;
    bool got_round = true;
    bool all_arrived = true;
    std::jthread worker([&] { got_round = gate.next_round(0, 0, stop.get_token()).has_value(); });
    std::jthread coordinator([&] { all_arrived = gate.wait_for_all(stop.get_token()); });
    stop.request_stop();
    worker.join();
    coordinator.join();
    CHECK_FALSE(got_round);
    CHECK_FALSE(all_arrived);
}

TEST_CASE("a closed gate lets a worker finish the round that is open, and opens no further one") {
    RoundGate gate(1);
    const std::stop_source stop;
    gate.open(1);
    gate.close();
    CHECK(gate.next_round(0, 0, stop.get_token()) == 1U);
    gate.arrive();
    CHECK_FALSE(gate.next_round(0, 1, stop.get_token()));
    CHECK(gate.wait_for_all(stop.get_token()));
}

TEST_CASE("a worker that is admitted takes part in the open round, which waits for it") {
    RoundGate gate(1);
    std::stop_source stop;
    gate.open(1);
    gate.arrive();
    gate.admit(2);
    CHECK_FALSE(gate.wait_for_all_until(stop.get_token(), RoundGate::Clock::now()));
    CHECK(gate.next_round(1, 0, stop.get_token()) == 1U);
    gate.arrive();
    CHECK(gate.wait_for_all_until(stop.get_token(), RoundGate::Clock::now()));
    gate.open(2);
    CHECK(gate.next_round(1, 1, stop.get_token()) == 2U);
}

TEST_CASE("a worker that is never admitted waits until the gate closes, and holds up no round") {
    RoundGate gate(1);
    const std::stop_source stop;
    std::atomic<bool> began{false};
    std::jthread parked([&] { began = gate.next_round(1, 0, stop.get_token()).has_value(); });
    gate.open(1);
    gate.arrive();
    CHECK(gate.wait_for_all(stop.get_token()));
    gate.close();
    parked.join();
    CHECK_FALSE(began);
}

TEST_CASE("a round does not wait for a worker that left in it, nor do later ones") {
    RoundGate gate(3);
    const std::stop_source stop;
    gate.open(1);
    gate.arrive();
    gate.leave(1, 0);
    CHECK_FALSE(gate.wait_for_all_until(stop.get_token(), RoundGate::Clock::now()));
    gate.arrive();
    CHECK(gate.wait_for_all(stop.get_token()));
    gate.open(2);
    CHECK_FALSE(gate.any_arrived());
    CHECK_FALSE(gate.next_round(1, 0, stop.get_token()));
    gate.arrive();
    CHECK_FALSE(gate.wait_for_all_until(stop.get_token(), RoundGate::Clock::now()));
    gate.arrive();
    CHECK(gate.wait_for_all(stop.get_token()));
}

TEST_CASE("a worker that leaves after it has arrived counts once") {
    RoundGate gate(2);
    const std::stop_source stop;
    gate.open(1);
    gate.arrive();
    gate.leave(0, 1);
    // It is too late for the coordinator to expel it.
    gate.expel(0);
    CHECK_FALSE(gate.wait_for_all_until(stop.get_token(), RoundGate::Clock::now()));
    gate.arrive();
    CHECK(gate.wait_for_all(stop.get_token()));
    gate.open(2);
    gate.arrive();
    CHECK(gate.wait_for_all(stop.get_token()));
}

TEST_CASE("a worker that is expelled between two rounds ends, and later rounds go on without it") {
    RoundGate gate(2);
    const std::stop_source stop;
    gate.open(1);
    gate.arrive();
    gate.arrive();
    std::atomic<bool> began{true};
    std::jthread waits([&] { began = gate.next_round(0, 1, stop.get_token()).has_value(); });
    gate.expel(0);
    waits.join();
    CHECK_FALSE(began);
    CHECK(gate.wait_for_all(stop.get_token()));
    gate.open(2);
    CHECK_FALSE(gate.wait_for_all_until(stop.get_token(), RoundGate::Clock::now()));
    gate.arrive();
    CHECK(gate.wait_for_all(stop.get_token()));
}

TEST_CASE("the number of a worker that was dismissed goes to another one") {
    RoundGate gate(1);
    const std::stop_source stop;
    std::atomic<bool> began{true};
    std::jthread waits([&] { began = gate.next_round(1, 0, stop.get_token()).has_value(); });
    gate.dismiss(1);
    waits.join();
    CHECK_FALSE(began);
    gate.forget(1);
    gate.open(1);
    gate.admit(2);
    CHECK(gate.next_round(1, 0, stop.get_token()) == 1U);
    gate.arrive();
    CHECK_FALSE(gate.wait_for_all_until(stop.get_token(), RoundGate::Clock::now()));
}

TEST_CASE("an interruption ends one wait for the end of a round") {
    using std::chrono::hours;
    RoundGate gate(1);
    const std::stop_source stop;
    gate.open(1);
    gate.interrupt();
    CHECK_FALSE(gate.wait_for_all_until(stop.get_token(), RoundGate::Clock::now() + hours(1)));
    std::jthread interrupts([&] { gate.interrupt(); });
    CHECK_FALSE(gate.wait_for_all_until(stop.get_token(), RoundGate::Clock::now() + hours(1)));
}

}  // namespace
}  // namespace migrate::engine
