// Runs a session while this thread shows progress and takes signals.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "base/catching.hpp"
#include "base/config/settings.hpp"
#include "base/thread.hpp"
#include "cli/progress.hpp"
#include "cli/run_migration.hpp"
#include "cli/signals.hpp"
#include "engine/events.hpp"

namespace migrate::cli {

inline Progress make_progress(const Settings& settings) {
    return Progress(choose_progress(settings.get<"progress">(), ::isatty(STDERR_FILENO) == 1));
}

inline Result<std::unique_ptr<engine::EventLog>> open_events(const Settings& settings) {
    const std::string& path = settings.get<"events">();
    if (path.empty()) return std::make_unique<engine::EventLog>();
    return engine::EventLog::open(path);
}

// The session runs on a thread of its own; this one shows progress and takes signals until it has
// ended.
template <typename Session>
class Runner {
  public:
    Runner(Session& session, const Signals& signals, Progress progress)
        : session_(session), signals_(signals), progress_(progress) {}

    // Of the signal that came during run(), whether or not the session could still be cancelled;
    // empty: none came.
    std::string_view interrupted_by() const { return interrupted_by_; }

    Status run(const std::string& thread_name) {
        UniqueFd ended(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        if (!ended) return session_.fail(Error::system("create an eventfd", errno));
        Status result;
        Cancellation unused;
        const auto work = [&]() -> Status {
            // Whatever becomes of it: nobody else says that it has ended.
            result = catching(thread_name, [this] { return session_.run(); });
            const std::uint64_t one = 1;
            [[maybe_unused]] const ssize_t written = ::write(ended.get(), &one, sizeof one);
            return {};
        };
        Result<SessionThread> thread =
            SessionThread::start(thread_name, session_.thread_times(), unused, work);
        if (!thread) return session_.fail(std::move(thread).error());
        const Status waited = catching("wait for the migration", [&] { return wait(ended.get()); });
        // The text is short enough to need no memory.
        if (!waited) session_.cancel("cannot wait");
        thread->join();
        progress_.finish();
        MIGRATE_TRY(waited);
        return result;
    }

  private:
    Status wait(int ended) {
        while (true) {
            std::array<pollfd, 2> polled{pollfd{ended, POLLIN, 0},
                                         pollfd{signals_.fd(), POLLIN, 0}};
            const int ready = ::poll(polled.data(), polled.size(),
                                     static_cast<int>(progress_.interval().count()));
            if (ready < 0 && errno != EINTR) return Error::system("wait for the migration", errno);
            if (polled[0].revents != 0) return {};
            if (polled[1].revents != 0) interrupt();
            // Progress that finds no memory is not shown; the session goes on.
            static_cast<void>(catching("progress", [this]() -> Status {
                progress_.update(session_.report());
                return {};
            }));
        }
    }

    void interrupt() {
        const std::string_view name = signals_.take();
        if (!interrupted_by_.empty()) {
            fmt::print(stderr, "\nmigrate: {} again: leaving at once\n", name);
            ::_exit(kExitFailed);
        }
        interrupted_by_ = name;
        const Status cancelled = catching("cancel", [&]() -> Status {
            session_.cancel(fmt::format("{} received", name));
            return {};
        });
        // Short enough to need no memory.
        if (!cancelled) session_.cancel("interrupted");
    }

    Session& session_;
    const Signals& signals_;
    Progress progress_;
    std::string_view interrupted_by_;  // its name, a literal
};

}  // namespace migrate::cli
