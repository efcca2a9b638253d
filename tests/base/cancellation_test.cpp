// SPDX-License-Identifier: Apache-2.0
#include "base/cancellation.hpp"

#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"

using namespace migrate;

namespace {

std::string reason(const Cancellation& cancellation) {
    const auto error = cancellation.error();
    REQUIRE(error);
    return error->message();
}

}  // namespace

TEST_CASE("a session without an error is not stopped") {
    const Cancellation cancellation;
    CHECK_FALSE(cancellation.stopped());
    CHECK_FALSE(cancellation.error());
    CHECK_FALSE(cancellation.connection_lost());
}

TEST_CASE("the first error wins and requests the stop") {
    Cancellation cancellation;
    const std::stop_token token = cancellation.token();
    cancellation.fail(Error("the first"));
    cancellation.fail(Error("the second"));
    cancellation.fail_lost_connection(Error(ErrorKind::kLostConnection, "the third"));
    CHECK(reason(cancellation) == "the first");
    CHECK(cancellation.stopped());
    CHECK(token.stop_requested());
}

TEST_CASE("a lost connection without a listener is the error") {
    Cancellation cancellation;
    cancellation.fail_lost_connection(Error(ErrorKind::kLostConnection, "channel 3 was closed"));
    CHECK(reason(cancellation) == "channel 3 was closed");
    CHECK(cancellation.error()->kind() == ErrorKind::kLostConnection);
    CHECK(cancellation.connection_lost());
    CHECK(cancellation.stopped());
}

TEST_CASE("a lost connection gives way to the peer's reason") {
    Cancellation cancellation;
    cancellation.on_lost_connection([&] {
        CHECK_FALSE(cancellation.stopped());
        cancellation.fail(Error(ErrorKind::kPeer, "the disk is full"));
    });
    cancellation.fail_lost_connection(Error(ErrorKind::kLostConnection, "channel 3 was closed"));
    cancellation.confirm_lost();
    CHECK(reason(cancellation) == "the disk is full");
    CHECK(cancellation.connection_lost());
}

TEST_CASE("a lost connection stays the error when no reason comes") {
    Cancellation cancellation;
    cancellation.on_lost_connection([&] { cancellation.confirm_lost(); });
    cancellation.fail_lost_connection(Error(ErrorKind::kLostConnection, "channel 3 was closed"));
    CHECK(reason(cancellation) == "channel 3 was closed");
}

TEST_CASE("the search for a reason begins at the first lost connection only") {
    Cancellation cancellation;
    int calls = 0;
    cancellation.on_lost_connection([&] { ++calls; });
    cancellation.fail_lost_connection(Error(ErrorKind::kLostConnection, "channel 0"));
    cancellation.fail_lost_connection(Error(ErrorKind::kLostConnection, "channel 1"));
    CHECK(calls == 1);
    // The session need not wait for the reason.
    CHECK(cancellation.stopped());
    CHECK(cancellation.reason_is_open());
    CHECK_FALSE(cancellation.error());
    cancellation.confirm_lost();
    CHECK_FALSE(cancellation.reason_is_open());
    CHECK(reason(cancellation) == "channel 0");
}

TEST_CASE("a thread that only noticed the stop does not hide the reason for a lost connection") {
    Cancellation cancellation;
    cancellation.on_lost_connection([] {});
    cancellation.fail_lost_connection(Error(ErrorKind::kLostConnection, "channel 3 was closed"));
    cancellation.fail_unless_stopped(Error(ErrorKind::kCancelled, "cancelled"));
    CHECK(cancellation.reason_is_open());
    cancellation.fail(Error(ErrorKind::kPeer, "the disk is full"));
    CHECK(reason(cancellation) == "the disk is full");
    Cancellation other;
    other.fail_unless_stopped(Error("first"));
    CHECK(other.stopped());
    CHECK(reason(other) == "first");
}

TEST_CASE("confirming a loss that never was changes nothing") {
    Cancellation cancellation;
    cancellation.confirm_lost();
    CHECK_FALSE(cancellation.stopped());
}

TEST_CASE("one of several simultaneous errors wins, and every thread wakes") {
    constexpr std::ptrdiff_t kThreads = 8;
    Cancellation cancellation;
    std::latch start(kThreads);
    std::latch woken(kThreads);
    {
        std::vector<std::jthread> threads;
        for (std::ptrdiff_t i = 0; i < kThreads; ++i) {
            threads.emplace_back([&, i] {
                const std::stop_callback on_stop(cancellation.token(), [&] { woken.count_down(); });
                start.arrive_and_wait();
                cancellation.fail(Error(fmt::format("thread {}", i)));
                woken.wait();
            });
        }
    }
    CHECK(reason(cancellation).starts_with("thread "));
}

TEST_CASE("a session's stop stops its connections, and a connection's error is the session's") {
    Cancellation session;
    Cancellation first(session);
    Cancellation second(session);
    first.fail(Error("of the first"));
    CHECK(reason(session) == "of the first");
    CHECK(reason(second) == "of the first");
    CHECK(first.stopped());
    CHECK(second.stopped());
    const Cancellation late(session);
    CHECK(late.stopped());
}

TEST_CASE("a connection that ends stops only itself, and its errors concern nobody any more") {
    Cancellation session;
    Cancellation connection(session);
    connection.end();
    CHECK(connection.stopped());
    connection.fail(Error("late"));
    connection.fail_unless_stopped(Error("late"));
    connection.fail_lost_connection(Error(ErrorKind::kLostConnection, "late"));
    CHECK_FALSE(session.stopped());
    CHECK_FALSE(session.error());
    CHECK_FALSE(session.connection_lost());
    // The next connection of the same session.
    Cancellation next(session);
    CHECK_FALSE(next.stopped());
    next.fail_lost_connection(Error(ErrorKind::kLostConnection, "reset"));
    CHECK(reason(session) == "reset");
}

TEST_CASE("a connection's loss is told to the listener, and its reason is the session's error") {
    Cancellation session;
    Cancellation link(session);
    Cancellation channels(session);
    bool told = false;
    link.on_lost_connection([&] { told = true; });
    channels.fail_lost_connection(Error(ErrorKind::kLostConnection, "reset"));
    CHECK(told);
    CHECK(link.stopped());
    CHECK(link.reason_is_open());
    link.fail(Error("disk full"));
    CHECK(reason(session) == "disk full");
}
