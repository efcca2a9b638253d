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

#include "base/config/settings.hpp"
#include "base/thread.hpp"
#include "cli/output_file.hpp"
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
    // The log empties the file that it opens, and an older one may be in use elsewhere.
    MIGRATE_TRY(make_empty_file("events", path));
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
        if (!ended) return Error::system("create an eventfd", errno);
        Status result;
        Cancellation unused;
        SessionThread thread(thread_name, session_.thread_times(), unused, [&]() -> Status {
            result = session_.run();
            const std::uint64_t one = 1;
            [[maybe_unused]] const ssize_t written = ::write(ended.get(), &one, sizeof one);
            return {};
        });
        const Status waited = wait(ended.get());
        thread.join();
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
            if (ready < 0 && errno != EINTR) {
                Status failed = Error::system("wait for the migration", errno);
                session_.cancel("the program cannot wait");
                return failed;
            }
            if (polled[0].revents != 0) return {};
            if (polled[1].revents != 0) interrupt();
            progress_.update(session_.report());
        }
    }

    void interrupt() {
        const std::string_view name = signals_.take();
        if (!interrupted_by_.empty()) {
            fmt::print(stderr, "\nmigrate: {} again: leaving at once\n", name);
            ::_exit(kExitFailed);
        }
        interrupted_by_ = name;
        session_.cancel(fmt::format("{} received", name));
    }

    Session& session_;
    const Signals& signals_;
    Progress progress_;
    std::string_view interrupted_by_;  // its name, a literal
};

}  // namespace migrate::cli
