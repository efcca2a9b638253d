// SPDX-License-Identifier: Apache-2.0
#include "engine/send/limit_timer.hpp"

#include <future>
#include <vector>

#include "catch.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/must.hpp"

namespace migrate::engine {
namespace {

using Limit = LimitTimer::Limit;
using std::chrono::hours;
using std::chrono::milliseconds;
using Clock = LimitTimer::Clock;

// A timer, and what it called.
struct Timed {
    Timed() { must(timer.start(times)); }

    Limit next() {
        std::unique_lock lock(mutex);
        REQUIRE(changed.wait_for(lock, kLong, [&] { return !calls.empty(); }));
        const Limit limit = calls.front();
        calls.erase(calls.begin());
        return limit;
    }
    bool is_quiet() {
        const std::scoped_lock lock(mutex);
        return calls.empty();
    }

    std::mutex mutex;
    std::condition_variable changed;
    std::vector<Limit> calls;
    ThreadTimes times;
    Cancellation cancellation;
    LimitTimer timer{cancellation, [this](Limit limit) {
                         {
                             const std::scoped_lock lock(mutex);
                             calls.push_back(limit);
                         }
                         changed.notify_all();
                     }};
};

TEST_CASE("a moment that comes, or has passed already, is acted on once") {
    Timed timed;
    const Clock::time_point soon = Clock::now() + milliseconds(30);
    timed.timer.set(Limit::kDeadline, soon);
    CHECK(timed.next() == Limit::kDeadline);
    CHECK(Clock::now() >= soon);
    timed.timer.set(Limit::kStallLimit, Clock::now() - hours(1));
    CHECK(timed.next() == Limit::kStallLimit);
    timed.timer.set(Limit::kDeadline, std::nullopt);
    CHECK(timed.is_quiet());
}

TEST_CASE("a moment may be brought forward, put off and taken back") {
    Timed timed;
    timed.timer.set(Limit::kDeadline, Clock::now() + hours(1));
    timed.timer.set(Limit::kStallLimit, Clock::now() + hours(2));
    timed.timer.set(Limit::kDeadline, Clock::now() + milliseconds(5));
    CHECK(timed.next() == Limit::kDeadline);
    const Clock::time_point soon = Clock::now() + milliseconds(50);
    timed.timer.set(Limit::kDeadline, soon);
    timed.timer.set(Limit::kDeadline, soon + hours(1));
    timed.timer.set(Limit::kStallLimit, soon + milliseconds(10));
    // The deadline that was not put off comes first.
    CHECK(timed.next() == Limit::kStallLimit);
    timed.timer.set(Limit::kDeadline, std::nullopt);
    timed.timer.set(Limit::kStallLimit, Clock::now());
    CHECK(timed.next() == Limit::kStallLimit);
    CHECK(timed.is_quiet());
}

TEST_CASE("a timer ends with its session and with its object") {
    {
        Timed timed;
        timed.timer.set(Limit::kDeadline, Clock::now() + hours(1));
    }
    Timed timed;
    timed.timer.set(Limit::kDeadline, Clock::now() + hours(1));
    timed.cancellation.fail(Error("ended"));
    timed.timer.set(Limit::kDeadline, Clock::now());
    CHECK(timed.times.all().size() <= 1);
}

}  // namespace
}  // namespace migrate::engine
