// SPDX-License-Identifier: Apache-2.0
#include "cli/session_runner.hpp"

#include <unistd.h>

#include <csignal>
#include <semaphore>

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::cli {
namespace {

// A session that has passed the point of no return when it is cancelled: it succeeds all the same.
class LateSession {
  public:
    Status run() {
        if (awaits_cancel) cancelled_.acquire();
        return {};
    }
    static Status fail(Error reason) { return reason; }
    void cancel(const std::string&) { cancelled_.release(); }
    engine::Report report() const { return {}; }
    ThreadTimes& thread_times() { return times_; }

    bool awaits_cancel = true;

  private:
    std::counting_semaphore<2> cancelled_{0};
    ThreadTimes times_;
};

// SIGINT and SIGTERM are blocked while it lives, as Signals leaves them.
class MaskRestored {
  public:
    MaskRestored() { ::pthread_sigmask(SIG_SETMASK, nullptr, &before_); }
    ~MaskRestored() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    MaskRestored(const MaskRestored&) = delete;
    MaskRestored& operator=(const MaskRestored&) = delete;

  private:
    sigset_t before_{};
};

TEST_CASE("a signal that comes too late to cancel a session is reported all the same") {
    const MaskRestored restored;
    const Signals signals = must(Signals::create());
    LateSession session;
    engine::EventLog events;
    Runner<LateSession> runner(session, signals, Progress(ProgressStyle::kNone, events), {});
    ::kill(::getpid(), SIGTERM);
    must(runner.run("late"));
    CHECK(runner.interrupted_by() == "SIGTERM");
}

TEST_CASE("a session without a signal is interrupted by none") {
    const MaskRestored restored;
    const Signals signals = must(Signals::create());
    LateSession session;
    session.awaits_cancel = false;
    engine::EventLog events;
    Runner<LateSession> runner(session, signals, Progress(ProgressStyle::kNone, events), {});
    must(runner.run("quick"));
    CHECK(runner.interrupted_by().empty());
}

TEST_CASE("a signal is named, stays until it is taken, and stops what may block") {
    const MaskRestored restored;
    const int number = GENERATE(SIGINT, SIGTERM, SIGHUP, SIGQUIT);
    const Signals signals = must(Signals::create());
    CHECK_FALSE(must(signals.came_within(std::chrono::milliseconds(0))));
    CHECK(signals.received().empty());
    ::kill(::getpid(), number);
    CHECK(must(signals.came_within(std::nullopt)));
    const std::string_view name = signals.received();
    CHECK(name == (number == SIGINT    ? "SIGINT"
                   : number == SIGTERM ? "SIGTERM"
                   : number == SIGHUP  ? "SIGHUP"
                                       : "SIGQUIT"));
    CHECK(must(signals.came_within(std::chrono::milliseconds(0))));
    const auto work = unless_signalled<int>(signals, "work", []() -> Result<int> { return 1; });
    REQUIRE_FALSE(work);
    CHECK(work.error().kind() == ErrorKind::kCancelled);
    CHECK(work.error().message() == fmt::format("{} received", name));
    // It was taken, and the next one counts again.
    CHECK_FALSE(must(signals.came_within(std::chrono::milliseconds(0))));
    ::kill(::getpid(), SIGTERM);
    CHECK(must(signals.came_within(std::nullopt)));
    CHECK(signals.take() == "SIGTERM");
}

TEST_CASE("a signal that the program was started to ignore stays ignored") {
    const MaskRestored restored;
    const auto before = std::signal(SIGHUP, SIG_IGN);
    {
        const Signals signals = must(Signals::create());
        ::kill(::getpid(), SIGHUP);
        ::kill(::getpid(), SIGTERM);
        CHECK(must(signals.came_within(std::nullopt)));
        CHECK(signals.take() == "SIGTERM");
    }
    std::signal(SIGHUP, before);
}

}  // namespace
}  // namespace migrate::cli
