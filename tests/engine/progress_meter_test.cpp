// SPDX-License-Identifier: Apache-2.0
#include "engine/report/progress_meter.hpp"

#include <memory>

#include "catch.hpp"

namespace migrate::engine {
namespace {

using Clock = ProgressMeter::Clock;
using std::chrono::milliseconds;

const Clock::time_point kBegan = Clock::time_point{} + std::chrono::hours(1);

Clock::time_point after(std::int64_t ms) { return kBegan + milliseconds(ms); }

TEST_CASE("the first speed is that since the migration began") {
    ProgressMeter meter;
    const PresentSpeed speed = meter.note(kBegan, after(500), 1000, 100);
    CHECK(speed.bytes == Approx(2000));
    CHECK(speed.pages == Approx(200));
}

TEST_CASE("the speed is that of the window, and not of the time before it") {
    ProgressMeter meter;
    std::uint64_t bytes = 0;
    for (std::int64_t ms = 10; ms <= 10'000; ms += 10) {
        bytes += 100;
        meter.note(kBegan, after(ms), bytes, 0);
    }
    PresentSpeed speed;
    for (std::int64_t ms = 10'010; ms <= 13'000; ms += 10) {
        bytes += 10;
        speed = meter.note(kBegan, after(ms), bytes, 0);
    }
    CHECK(speed.bytes == Approx(1000));
}

TEST_CASE("the lasting speed is that of a longer time") {
    ProgressMeter meter;
    std::uint64_t pages = 0;
    PresentSpeed speed;
    for (std::int64_t ms = 10; ms <= 20'000; ms += 10) {
        // 6 of the last 8 seconds are ten times as fast as the last two.
        pages += ms <= 10'000 ? 5000 : ms <= 18'000 ? 10 : 1;
        speed = meter.note(kBegan, after(ms), 0, pages);
    }
    CHECK(speed.pages == Approx(100));
    REQUIRE(speed.lasting_pages);
    CHECK(*speed.lasting_pages == Approx(775).epsilon(0.02));
}

TEST_CASE("the speed falls to zero when nothing moves, however often it is asked for") {
    ProgressMeter meter;
    meter.note(kBegan, after(100), 1'000'000, 100);
    const std::int64_t step = GENERATE(1, 7, 500, 1900);
    PresentSpeed speed;
    for (std::int64_t ms = 100; ms <= 6000; ms += step) {
        speed = meter.note(kBegan, after(ms), 1'000'000, 100);
    }
    CHECK(speed.bytes == 0);
    CHECK(speed.pages == 0);
}

TEST_CASE("after a long time without a question the speed is that of this time") {
    ProgressMeter meter;
    meter.note(kBegan, after(100), 1000, 10);
    CHECK(meter.note(kBegan, after(100'100), 101'000, 10).bytes == Approx(1000).epsilon(0.02));
}

TEST_CASE("pages that are taken back make no negative speed") {
    ProgressMeter meter;
    meter.note(kBegan, after(1000), 1000, 500);
    meter.note(kBegan, after(3500), 1000, 400);
    const PresentSpeed speed = meter.note(kBegan, after(4000), 900, 300);
    CHECK(speed.bytes == 0);
    CHECK(speed.pages == 0);
}

TEST_CASE("a question at the very beginning has no speed") {
    ProgressMeter meter;
    CHECK(meter.note(kBegan, kBegan, 10, 10).bytes == 0);
}

}  // namespace
}  // namespace migrate::engine
