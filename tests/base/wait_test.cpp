// SPDX-License-Identifier: Apache-2.0
#include "base/wait.hpp"

#include <pthread.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <thread>

#include "catch.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/must.hpp"
#include "tests/support/pipe.hpp"

namespace migrate {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

TEST_CASE("a wait ends when its descriptor is ready, and when its time is over") {
    const Pipe pipe;
    std::stop_source stop;
    for (const std::stop_token& token : {stop.get_token(), std::stop_token()}) {
        const StopWait wait(token);
        const auto empty = wait.wait(pipe.reader.get(), POLLIN, microseconds(10));
        REQUIRE(empty);
        CHECK_FALSE(*empty);
        const auto none = wait.wait(-1, 0, microseconds(10));
        REQUIRE(none);
        CHECK_FALSE(*none);
        const auto room = wait.wait(pipe.writer.get(), POLLOUT, kLong);
        REQUIRE(room);
        CHECK(*room);
    }
}

TEST_CASE(
    "a wait for several descriptors ends with those that are ready, or when its time is over") {
    const Pipe full;
    const Pipe empty;
    REQUIRE(::write(full.writer.get(), "x", 1) == 1);
    std::array<pollfd, 3> polled{pollfd{empty.reader.get(), POLLIN, 0}, pollfd{-1, POLLIN, 0},
                                 pollfd{full.reader.get(), POLLIN, 0}};
    REQUIRE(wait_for_any(polled, kNever) == 1);
    CHECK(polled[0].revents == 0);
    CHECK(polled[2].revents == POLLIN);
    for (const auto until : {WaitClock::time_point{}, WaitClock::now(), after(microseconds(10))}) {
        CHECK(wait_for_any(std::span(polled).first(2), until) == 0);
    }
    CHECK(readable_within(full.reader.get(), std::chrono::milliseconds(0)));
    CHECK_FALSE(readable_within(empty.reader.get(), std::chrono::milliseconds(1)));
    CHECK(writable_within(empty.writer.get(), kLong));
}

TEST_CASE("the point in time after a duration lies between now and a day from now") {
    const auto now = WaitClock::now();
    CHECK(after(std::chrono::milliseconds::min()) - now < seconds(3600));
    CHECK(after(std::chrono::milliseconds::max()) - now > std::chrono::hours(23));
    CHECK(after(std::chrono::hours::max()) - now < std::chrono::hours(25));
    CHECK(after(microseconds(1500)) >= now + microseconds(1500));
}

TEST_CASE("a signal does not end a wait") {
    struct sigaction action {};
    struct sigaction before {};
    action.sa_handler = [](int) {};
    REQUIRE(::sigaction(SIGUSR2, &action, &before) == 0);
    const Pipe pipe;
    const pthread_t waiting = ::pthread_self();
    std::jthread signaller([&](const std::stop_token& stop) {
        while (!stop.stop_requested()) ::pthread_kill(waiting, SIGUSR2);
    });
    const bool early = readable_within(pipe.reader.get(), std::chrono::milliseconds(5));
    std::jthread writer([&] { (void)!::write(pipe.writer.get(), "x", 1); });
    const bool came = readable_within(pipe.reader.get(), kLong);
    signaller = {};
    ::sigaction(SIGUSR2, &before, nullptr);
    CHECK_FALSE(early);
    CHECK(came);
}

TEST_CASE("a wake-up is seen once, whether it came before the wait or in it") {
    const Wakeup wakeup = must(Wakeup::create());
    CHECK_FALSE(wakeup.clear());
    wakeup.wake();
    wakeup.wake();
    CHECK(readable_within(wakeup.fd(), kLong));
    CHECK(wakeup.clear());
    CHECK_FALSE(wakeup.clear());
    std::jthread waker([&] { wakeup.wake(); });
    CHECK(readable_within(wakeup.fd(), kLong));
}

TEST_CASE("a stop ends a wait, before it or in it, and every later one") {
    const Pipe pipe;
    std::stop_source stop;
    const StopWait wait(stop.get_token());
    std::jthread stopping([&] { stop.request_stop(); });
    for (int turn = 0; turn < 2; ++turn) {
        const auto woken = wait.wait(pipe.reader.get(), POLLIN, seconds(3600));
        REQUIRE_FALSE(woken);
        CHECK(woken.error().kind() == ErrorKind::kCancelled);
    }
    // Even where the descriptor is ready.
    CHECK_FALSE(wait.wait(pipe.writer.get(), POLLOUT, seconds(3600)));
    const StopWait late(stop.get_token());
    CHECK_FALSE(late.wait(-1, 0, seconds(3600)));
}

}  // namespace
}  // namespace migrate
