#include "base/thread.hpp"

#include <pthread.h>

#include <array>
#include <atomic>
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
    SessionThread first("multifdsend_0", times, cancellation, note(short_name));
    SessionThread second("a_name_of_twenty_one", times, cancellation, note(long_name));
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
    SessionThread thread("multifdrecv_12345", times, cancellation, [&]() -> Status {
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
    SessionThread waiting("waiting", times, cancellation, [&]() -> Status {
        // Ends only when the other thread's error wakes it.
        std::atomic<bool> woken = false;
        const std::stop_callback on_stop(cancellation.token(), [&] {
            woken = true;
            woken.notify_one();
        });
        woken.wait(false);
        return Error(ErrorKind::kCancelled, "woken");
    });
    SessionThread failing("failing", times, cancellation,
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
    SessionThread thread("losing", times, cancellation, []() -> Status {
        return Error(ErrorKind::kLostConnection, "channel 0 was closed");
    });
    thread.join();
    REQUIRE(cancellation.error());
    CHECK(cancellation.error()->message() == "the peer's disk is full");
}

TEST_CASE("an exception in a session thread becomes the session's error") {
    ThreadTimes times;
    Cancellation cancellation;
    SessionThread thread("throwing", times, cancellation,
                         []() -> Status { throw std::runtime_error("out of ideas"); });
    thread.join();
    REQUIRE(cancellation.error());
    CHECK(cancellation.error()->message() == "thread throwing: out of ideas");
}

TEST_CASE("joining a session thread twice is harmless") {
    ThreadTimes times;
    Cancellation cancellation;
    SessionThread thread("once", times, cancellation, []() -> Status { return {}; });
    thread.join();
    thread.join();
    CHECK(times.all().size() == 1);
}
