// SPDX-License-Identifier: Apache-2.0
#include "accel/dsa/work_share.hpp"

#include "catch.hpp"

namespace migrate::accel::dsa {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;

constexpr std::uint32_t kBatch = 128;

// A channel whose CPU checks a page in 200 ns, and a device that is described by its time per page.
struct Rig {
    explicit Rig(AccelShare policy = AccelShare::kAuto) : share(policy, now, figures) {}

    // One batch. The channel waits for what the device has not done while the CPU checked; it
    // overtakes the device at the limit.
    void batch(nanoseconds device_per_page) {
        const std::uint32_t given = share.device_pages(kBatch, true, now);
        const nanoseconds checking(200 * (kBatch - given));
        const nanoseconds device = device_per_page * given;
        const Time::Point done = now + checking + rest + nanoseconds(20 * given);
        const Time::Point limit = share.wait_limit(given, done);
        Time::Point end = std::max(done, std::min(limit, now + device));
        const bool late = given != 0 && now + device > end;
        WorkShare::Outcome outcome{.given = given,
                                   .answered = late ? 0 : given,
                                   .late = late ? given : 0,
                                   .submitting = nanoseconds(20 * given),
                                   .waiting = end - done,
                                   .device = device,
                                   .on_cpu = kBatch - given,
                                   .checking = checking};
        if (late) {
            end += nanoseconds(200 * given);
            outcome.on_cpu = kBatch;
            outcome.checking = nanoseconds(200 * kBatch);
        }
        now = end;
        share.add(outcome, waiter, now);
    }
    void batches(int count, nanoseconds device_per_page) {
        for (int i = 0; i < count; ++i) batch(device_per_page);
    }
    ShareReason reason() const { return figures.reason.load(); }

    Time::Point now{};
    nanoseconds rest{0};  // time per batch for all else
    WaiterCost waiter;
    ShareFigures figures;
    WorkShare share;
};

TEST_CASE("a device that keeps up gets all pages but the few that the CPU measures itself by") {
    Rig rig;
    rig.rest = microseconds(30);
    rig.batches(100, nanoseconds(100));
    CHECK(rig.share.share() == 1);
    CHECK(rig.reason() == ShareReason::kKeepsUp);
    std::uint32_t given = 0;
    for (int i = 0; i < 32; ++i) {
        given += rig.share.device_pages(kBatch, true, rig.now);
        CHECK(given > 0);
    }
    CHECK(given == 32 * kBatch - 2 * 8);
}

TEST_CASE("a device that is slower than the channel gets what it checks meanwhile") {
    Rig rig;
    // 400 ns against 200 ns: a third of the pages, in the same time.
    rig.batches(400, nanoseconds(400));
    CHECK(rig.share.share() > 0.2);
    CHECK(rig.share.share() < 0.45);
    CHECK(rig.reason() == ShareReason::kWaits);
    const Time::Point begin = rig.now;
    rig.batches(100, nanoseconds(400));
    const nanoseconds alone(std::int64_t{100} * kBatch * 200);
    CHECK(rig.now - begin < alone);
}

TEST_CASE("a device that answers too late gets a trial from time to time, and is used again") {
    Rig rig;
    rig.batches(50, microseconds(100));
    CHECK(rig.share.share() == 0);
    CHECK(rig.reason() == ShareReason::kTooLate);
    CHECK_FALSE(rig.share.may_use_device(rig.now));
    CHECK(rig.share.may_use_device(rig.now + std::chrono::seconds(1)));
    const Time::Point begin = rig.now;
    rig.batches(10'000, microseconds(100));
    // Hardly longer than the CPU alone takes.
    CHECK(rig.now - begin < nanoseconds(std::int64_t{10'000} * kBatch * 203));
    rig.rest = microseconds(30);
    rig.batches(10'000, nanoseconds(50));
    CHECK(rig.share.share() == 1);
}

TEST_CASE("a device whose submission costs more than a check is not used") {
    Rig rig;
    for (int i = 0; i < 50; ++i) {
        const std::uint32_t given = rig.share.device_pages(kBatch, true, rig.now);
        rig.now += microseconds(30);
        rig.share.add({.given = given,
                       .answered = given,
                       .submitting = nanoseconds(900 * given),
                       .device = nanoseconds(10 * given),
                       .on_cpu = kBatch - given,
                       .checking = nanoseconds(200 * (kBatch - given))},
                      {}, rig.now);
    }
    CHECK(rig.share.share() == 0);
    CHECK(rig.reason() == ShareReason::kTooCostly);
}

TEST_CASE("the time of a thread that waits for the device counts as the device's cost") {
    Rig rig;
    rig.rest = microseconds(200);
    for (int i = 0; i < 50; ++i) {
        rig.waiter.busy += nanoseconds(std::int64_t{kBatch} * 500);
        rig.waiter.pages += kBatch;
        rig.batch(nanoseconds(100));
    }
    CHECK(rig.share.share() == 0);
    CHECK(rig.reason() == ShareReason::kTooCostly);
}

TEST_CASE("where a thread polls, a device that is slower than the CPU fails its trials") {
    for (const bool threaded : {true, false}) {
        CAPTURE(threaded);
        Rig rig;
        rig.rest = microseconds(200);
        rig.batches(50, microseconds(100));
        REQUIRE(rig.share.share() == 0);
        if (threaded) rig.waiter.busy = microseconds(1);
        // A trial is polled for no longer than a useful device takes.
        CHECK(rig.share.poll_limit(16, rig.now) - rig.now == nanoseconds(16 * 200 + 5000));
        rig.batches(3000, nanoseconds(1000));
        CHECK((rig.share.share() == 0) == threaded);
        rig.batches(10'000, nanoseconds(100));
        CHECK(rig.share.share() == 1);
        CHECK(rig.share.poll_limit(16, rig.now) == Time::Point::max());
    }
}

TEST_CASE("without a queue the CPU checks everything, and the reason says so") {
    Rig rig;
    CHECK(rig.share.device_pages(kBatch, false, rig.now) == 0);
    CHECK(rig.reason() == ShareReason::kNoQueue);
}

TEST_CASE("accel-share=all gives the device everything and waits as long as it takes") {
    Rig rig(AccelShare::kAll);
    for (int i = 0; i < 100; ++i) {
        CHECK(rig.share.device_pages(kBatch, true, rig.now) == kBatch);
        rig.share.add({.given = kBatch, .late = kBatch, .waiting = microseconds(900)}, {}, rig.now);
    }
    CHECK(rig.share.wait_limit(kBatch, rig.now) == Time::Point::max());
    CHECK(rig.reason() == ShareReason::kAllAsked);
}

TEST_CASE("an interruption while the CPU is measured does not make the device look faster") {
    RecentLowest lowest;
    lowest.add(200);
    lowest.add(50'000);
    lowest.add(210);
    CHECK(lowest.value() == 200);
    for (int i = 0; i < 8; ++i) lowest.add(300);
    CHECK(lowest.value() == 300);
}

}  // namespace
}  // namespace migrate::accel::dsa
