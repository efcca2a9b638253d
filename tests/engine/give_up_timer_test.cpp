#include "engine/send/give_up_timer.hpp"

#include <future>
#include <vector>

#include "catch.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/must.hpp"

namespace migrate::engine {
namespace {

using Reason = GiveUpTimer::Reason;
using std::chrono::hours;
using std::chrono::milliseconds;
using Clock = GiveUpTimer::Clock;

// A timer, and what it called.
struct Timed {
    Timed() { must(timer.start(times)); }

    Reason next() {
        std::unique_lock lock(mutex);
        REQUIRE(changed.wait_for(lock, kLong, [&] { return !calls.empty(); }));
        const Reason reason = calls.front();
        calls.erase(calls.begin());
        return reason;
    }
    bool is_quiet() {
        const std::scoped_lock lock(mutex);
        return calls.empty();
    }

    std::mutex mutex;
    std::condition_variable changed;
    std::vector<Reason> calls;
    ThreadTimes times;
    Cancellation cancellation;
    GiveUpTimer timer{cancellation, [this](Reason reason) {
                          {
                              const std::scoped_lock lock(mutex);
                              calls.push_back(reason);
                          }
                          changed.notify_all();
                      }};
};

TEST_CASE("a moment that comes, or has passed already, is acted on once") {
    Timed timed;
    const Clock::time_point soon = Clock::now() + milliseconds(30);
    timed.timer.set(Reason::kDeadline, soon);
    CHECK(timed.next() == Reason::kDeadline);
    CHECK(Clock::now() >= soon);
    timed.timer.set(Reason::kStallLimit, Clock::now() - hours(1));
    CHECK(timed.next() == Reason::kStallLimit);
    timed.timer.set(Reason::kDeadline, std::nullopt);
    CHECK(timed.is_quiet());
}

TEST_CASE("a moment may be brought forward, put off and taken back") {
    Timed timed;
    timed.timer.set(Reason::kDeadline, Clock::now() + hours(1));
    timed.timer.set(Reason::kStallLimit, Clock::now() + hours(2));
    timed.timer.set(Reason::kDeadline, Clock::now() + milliseconds(5));
    CHECK(timed.next() == Reason::kDeadline);
    const Clock::time_point soon = Clock::now() + milliseconds(50);
    timed.timer.set(Reason::kDeadline, soon);
    timed.timer.set(Reason::kDeadline, soon + hours(1));
    timed.timer.set(Reason::kStallLimit, soon + milliseconds(10));
    // The deadline that was not put off comes first.
    CHECK(timed.next() == Reason::kStallLimit);
    timed.timer.set(Reason::kDeadline, std::nullopt);
    timed.timer.set(Reason::kStallLimit, Clock::now());
    CHECK(timed.next() == Reason::kStallLimit);
    CHECK(timed.is_quiet());
}

TEST_CASE("a timer ends with its session and with its object") {
    {
        Timed timed;
        timed.timer.set(Reason::kDeadline, Clock::now() + hours(1));
    }
    Timed timed;
    timed.timer.set(Reason::kDeadline, Clock::now() + hours(1));
    timed.cancellation.fail(Error("ended"));
    timed.timer.set(Reason::kDeadline, Clock::now());
    CHECK(timed.times.all().size() <= 1);
}

}  // namespace
}  // namespace migrate::engine
