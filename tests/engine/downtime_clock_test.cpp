// SPDX-License-Identifier: Apache-2.0
#include "engine/send/downtime_clock.hpp"

#include "catch.hpp"

namespace migrate::engine {
namespace {

using std::chrono::microseconds;

Microseconds sum(const DowntimeReport& report) {
    return report.stop + report.last_round + report.devices + report.state_save + report.digest +
           report.load + report.resume + report.wire;
}

TEST_CASE("the parts of a downtime add up to its total") {
    DowntimeClock clock;
    clock.lap(&DowntimeReport::stop);
    clock.skip();
    clock.lap(&DowntimeReport::last_round);
    clock.lap(&DowntimeReport::devices);
    clock.lap(&DowntimeReport::digest);
    const DowntimeReport report = clock.close();
    CHECK(sum(report) == report.total);
    CHECK(report.wire >= Microseconds(0));
}

TEST_CASE("a lap ends at the moment that is given, and a moment before the last lap counts as 0") {
    DowntimeClock clock;
    const auto later = DowntimeClock::Clock::now() + microseconds(1000);
    const Microseconds first = clock.lap(&DowntimeReport::last_round, later);
    CHECK(first >= microseconds(1000));
    CHECK(clock.lap(&DowntimeReport::devices, later - microseconds(400)) == microseconds(0));
    CHECK(clock.lap(&DowntimeReport::devices, later + microseconds(7)) == microseconds(7));
    // Two laps of one part add up.
    CHECK(clock.lap(&DowntimeReport::devices, later + microseconds(10)) == microseconds(3));
    const DowntimeReport report = clock.close();
    CHECK(report.last_round == first);
    CHECK(report.devices == microseconds(10));
}

TEST_CASE(
    "times that the other side measured are parts, and a sum above the total leaves no wire") {
    DowntimeClock clock;
    clock.add(&DowntimeReport::load, Microseconds(60'000'000));
    clock.add(&DowntimeReport::load, Microseconds(1));
    const DowntimeReport report = clock.close(Microseconds(5));
    CHECK(report.total <= clock.elapsed());
    CHECK(report.load == Microseconds(60'000'001));
    CHECK(report.wire == Microseconds(0));
}

TEST_CASE("a total that the other side measured shortens the wire only, and lengthens nothing") {
    DowntimeClock clock;
    const auto later = DowntimeClock::Clock::now();
    while (DowntimeClock::Clock::now() < later + microseconds(300)) {
    }
    const Microseconds stop = clock.lap(&DowntimeReport::stop);
    while (DowntimeClock::Clock::now() < later + microseconds(600)) {
    }
    const DowntimeReport report = clock.close(stop + microseconds(100));
    CHECK(report.total == stop + microseconds(100));
    CHECK(report.wire == microseconds(100));
    const DowntimeReport shortest = clock.close(microseconds(0));
    CHECK(shortest.total == stop);
    CHECK(shortest.wire == microseconds(0));
    const DowntimeReport whole = clock.close(std::chrono::seconds(60));
    CHECK(whole.total <= clock.elapsed());
    CHECK(sum(whole) == whole.total);
}

}  // namespace
}  // namespace migrate::engine
