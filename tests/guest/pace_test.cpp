// SPDX-License-Identifier: Apache-2.0
#include "guest/pace.hpp"

#include <initializer_list>
#include <vector>

#include "catch.hpp"

namespace migrate::guest {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

std::vector<microseconds> microseconds_of(std::initializer_list<int> numbers) {
    std::vector<microseconds> all;
    for (const int number : numbers) all.emplace_back(number);
    return all;
}

// A vCPU on a clock that only this moves.
struct Simulation {
    Pace pace;
    nanoseconds write_time;  // of one write
    nanoseconds wake_up;     // how late a sleeper wakes
    Clock::time_point now{seconds(1000)};

    Simulation(nanoseconds interval, nanoseconds a_write, nanoseconds late)
        : pace(interval), write_time(a_write), wake_up(late) {
        pace.restart(now, 0);
    }
    std::uint64_t run(nanoseconds time, unsigned throttle) {
        std::uint64_t writes = 0;
        for (const auto end = now + time; now < end;) {
            const auto next = pace.next(now, throttle);
            if (next > now) {
                now = next + wake_up;
                continue;
            }
            now += write_time;
            pace.wrote();
            ++writes;
        }
        return writes;
    }
};

TEST_CASE("an interval is that of one thread among those that share the rate") {
    CHECK(Pace::interval(0, 4) == nanoseconds(0));
    CHECK(Pace::interval(1, 1) == nanoseconds(3906250));
    CHECK(Pace::interval(100, 2) == nanoseconds(78125));
    CHECK(Pace::interval(3, 1) == nanoseconds(1302084));
}

TEST_CASE("a paced vCPU keeps its rate when sleepers wake late") {
    for (const microseconds interval : microseconds_of({10, 100, 700, 30000})) {
        for (const microseconds late : microseconds_of({0, 60, 900})) {
            Simulation vcpu(interval, nanoseconds(500), late);
            const auto due = static_cast<std::uint64_t>(seconds(10) / interval);
            const std::uint64_t writes = vcpu.run(seconds(10), 0);
            CAPTURE(interval.count(), late.count());
            CHECK(writes <= due + 1);
            CHECK(writes >= due * 99 / 100 - 1);
        }
    }
}

TEST_CASE("a throttle leaves its share, of a rate as of all that is possible") {
    for (const unsigned percent : {1U, 20U, 50U, 90U, 99U}) {
        for (const microseconds interval : microseconds_of({0, 10, 100, 700})) {
            Simulation vcpu(interval, microseconds(2), microseconds(60));
            const auto unthrottled = static_cast<double>(vcpu.run(seconds(4), 0));
            const auto writes = static_cast<double>(vcpu.run(seconds(4), percent));
            const double share = (100 - percent) / 100.0;
            CAPTURE(percent, interval.count());
            // The writes that became due in the sleep before the throttle are still to come.
            const double due =
                interval.count() == 0 ? 2 : static_cast<double>(Pace::kTick / interval) + 2;
            CHECK(writes <= unthrottled * share * 1.02 + due);
            CHECK(writes >= unthrottled * share * 0.95 - 2);
            // The time that the throttle took is not made up for.
            CHECK(static_cast<double>(vcpu.run(seconds(4), 0)) <= unthrottled * 1.01 + 2);
        }
    }
}

TEST_CASE("after a long absence only a few milliseconds are made up for") {
    constexpr microseconds kInterval(10);
    constexpr auto kBurst = static_cast<std::uint64_t>(milliseconds(5) / kInterval) + 2;
    Simulation vcpu(kInterval, nanoseconds(1), nanoseconds(0));
    vcpu.run(seconds(1), 0);
    vcpu.now += seconds(60);
    CHECK(vcpu.run(microseconds(100), 0) <= kBurst + 10);
    vcpu.now += seconds(60);
    vcpu.pace.restart(vcpu.now, 0);
    CHECK(vcpu.run(microseconds(100), 0) <= 12);
}

TEST_CASE("a throttle that changes all the time gives nothing back") {
    Simulation vcpu(microseconds(10), nanoseconds(500), microseconds(60));
    std::uint64_t writes = 0;
    for (unsigned i = 0; i < 1000; ++i) writes += vcpu.run(milliseconds(25), 90 + i % 2);
    CHECK(writes <= 25 * 100000 / 8);
}

}  // namespace
}  // namespace migrate::guest
