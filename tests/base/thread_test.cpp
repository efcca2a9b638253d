// SPDX-License-Identifier: Apache-2.0
#include "base/thread.hpp"

#include <pthread.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <new>
#include <stdexcept>
#include <string>

#include "catch.hpp"

using namespace migrate;

namespace {

std::string this_thread_name() {
    std::array<char, 16> name{};
    ::pthread_getname_np(::pthread_self(), name.data(), name.size());
    return name.data();
}

// Until the thread's own clock has moved on by `duration_ns`.
void work(std::uint64_t duration_ns) {
    const std::uint64_t begin = thread_run_time_ns();
    while (thread_run_time_ns() - begin < duration_ns) {
    }
}

SessionThread start(const std::string& name, ThreadTimes& times, Cancellation& cancellation,
                    std::function<Status()> body) {
    Result<SessionThread> thread = SessionThread::start(name, times, cancellation, std::move(body));
    REQUIRE(thread);
    return *std::move(thread);
}

}  // namespace

TEST_CASE("a session thread runs under its name, cut to what the kernel keeps") {
    ThreadTimes times;
    Cancellation cancellation;
    std::string short_name;
    std::string long_name;
    const auto note = [](std::string& name) {
        return [&name]() -> Status {
            name = this_thread_name();
            return {};
        };
    };
    SessionThread first = start("multifdsend_0", times, cancellation, note(short_name));
    SessionThread second = start("a_name_of_twenty_one", times, cancellation, note(long_name));
    first.join();
    second.join();
    CHECK(short_name == "multifdsend_0");
    CHECK(long_name == "a_name_of_twent");
    CHECK_FALSE(cancellation.stopped());
}

TEST_CASE("a session thread's run time is recorded under its full name when it ends") {
    constexpr std::uint64_t kWork = 20'000'000;
    ThreadTimes times;
    Cancellation cancellation;
    SessionThread thread = start("multifdrecv_12345", times, cancellation, [&]() -> Status {
        work(kWork);
        return {};
    });
    thread.join();
    const auto all = times.all();
    REQUIRE(all.size() == 1);
    CHECK(all.front().name == "multifdrecv_12345");
    CHECK(all.front().run_time_ns >= kWork);
}

TEST_CASE("a session thread hands its error over and stops the others") {
    ThreadTimes times;
    Cancellation cancellation;
    SessionThread waiting = start("waiting", times, cancellation, [&]() -> Status {
        // Ends only when the other thread's error wakes it.
        std::atomic<bool> woken = false;
        const std::stop_callback on_stop(cancellation.token(), [&] {
            woken = true;
            woken.notify_one();
        });
        woken.wait(false);
        return Error(ErrorKind::kCancelled, "woken");
    });
    SessionThread failing = start("failing", times, cancellation,
                                  []() -> Status { return make_error("the disk is full"); });
    failing.join();
    waiting.join();
    REQUIRE(cancellation.error());
    CHECK(cancellation.error()->message() == "the disk is full");
    CHECK(times.all().size() == 2);
}

TEST_CASE("a session thread's lost connection gives way to the peer's reason") {
    ThreadTimes times;
    Cancellation cancellation;
    cancellation.on_lost_connection(
        [&] { cancellation.fail(Error(ErrorKind::kPeer, "the peer's disk is full")); });
    SessionThread thread = start("losing", times, cancellation, []() -> Status {
        return Error(ErrorKind::kLostConnection, "channel 0 was closed");
    });
    thread.join();
    REQUIRE(cancellation.error());
    CHECK(cancellation.error()->message() == "the peer's disk is full");
}

TEST_CASE("an exception in a session thread becomes the session's error") {
    ThreadTimes times;
    Cancellation cancellation;
    SessionThread thread = start("throwing", times, cancellation,
                                 []() -> Status { throw std::runtime_error("out of ideas"); });
    thread.join();
    REQUIRE(cancellation.error());
    CHECK(cancellation.error()->message() == "thread throwing: out of ideas");
}

TEST_CASE("joining a session thread twice is harmless") {
    ThreadTimes times;
    Cancellation cancellation;
    SessionThread thread = start("once", times, cancellation, []() -> Status { return {}; });
    thread.join();
    thread.join();
    CHECK(times.all().size() == 1);
}

TEST_CASE("any object that a session thread throws becomes the session's error") {
    const auto error_of = [](std::function<Status()> body) {
        ThreadTimes times;
        Cancellation cancellation;
        SessionThread thread = start("throwing", times, cancellation, std::move(body));
        thread.join();
        CHECK(times.all().size() == 1);
        REQUIRE(cancellation.error());
        return cancellation.error()->message();
    };
    CHECK(error_of([]() -> Status { throw std::bad_alloc(); }) ==
          "thread throwing: out of memory (check the limits ulimit -v and ulimit -d)");
    CHECK(error_of([]() -> Status { throw std::length_error("a vector too long"); }) ==
          "thread throwing: a vector too long");
    CHECK(error_of([]() -> Status { throw 7; }) ==
          "thread throwing: an exception of an unknown type");
}

TEST_CASE("a thread that cannot be started is an error that names it, and nothing runs") {
    for (const int code : {EAGAIN, ENOMEM}) {
        const ThreadStartHook refuse([code](std::string_view) { return code; });
        ThreadTimes times;
        Cancellation cancellation;
        bool ran = false;
        const auto started =
            SessionThread::start("dev_save_net0", times, cancellation, [&]() -> Status {
                ran = true;
                return {};
            });
        REQUIRE_FALSE(started);
        const std::string& message = started.error().message();
        CHECK(message.find("cannot start thread dev_save_net0: ") == 0);
        CHECK(message.find("pids.max") != std::string::npos);
        CHECK_FALSE(ran);
        CHECK_FALSE(cancellation.stopped());
        CHECK(times.all().empty());
    }
    // The hook is gone, and with it the refusal.
    ThreadTimes times;
    Cancellation cancellation;
    start("started", times, cancellation, []() -> Status { return {}; }).join();
    CHECK(times.all().size() == 1);
}

TEST_CASE("as many helpers start as the system has room for, and their errors are reported") {
    std::atomic<int> left = 2;
    const ThreadStartHook refuse([&](std::string_view name) {
        CHECK(name.substr(0, 5) == "help_");
        return left-- > 0 ? 0 : EAGAIN;
    });
    std::atomic<int> ran = 0;
    std::atomic<int> failed = 0;
    {
        const auto helpers = start_helpers(
            "help", 5,
            [&](const std::stop_token&) -> Status {
                if (++ran == 1) throw std::bad_alloc();
                return make_error("no luck");
            },
            [&](const Error&) { ++failed; });
        CHECK(helpers.size() == 2);
    }
    CHECK(ran == 2);
    CHECK(failed == 2);
}

TEST_CASE("a thread's destructor requests its stop and waits for it") {
    std::atomic<bool> ended = false;
    {
        Result<Thread> thread = Thread::start(
            "waiting",
            [&](const std::stop_token& stop) -> Status {
                std::atomic<bool> woken = false;
                const std::stop_callback on_stop(stop, [&] {
                    woken = true;
                    woken.notify_one();
                });
                woken.wait(false);
                ended = true;
                return {};
            },
            [](const Error&) {});
        REQUIRE(thread);
    }
    CHECK(ended);
}

TEST_CASE("blocked signals do not include those that a thread raises itself") {
    sigset_t blocked{};
    {
        const SignalsBlocked guard;
        REQUIRE(::pthread_sigmask(SIG_BLOCK, nullptr, &blocked) == 0);
    }
    CHECK(::sigismember(&blocked, SIGTERM) == 1);
    CHECK(::sigismember(&blocked, SIGBUS) == 0);
    REQUIRE(::pthread_sigmask(SIG_BLOCK, nullptr, &blocked) == 0);
    CHECK(::sigismember(&blocked, SIGTERM) == 0);
}
