// Runs a session while this thread shows progress and takes signals.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>

#include "base/config/settings.hpp"
#include "base/thread.hpp"
#include "cli/progress.hpp"
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
        if (!interrupted_by_.empty()) static_cast<void>(signals_.take());
        progress_.finish();
        MIGRATE_TRY(waited);
        return result;
    }

  private:
    Status wait(int ended) {
        while (true) {
            std::array<pollfd, 2> polled{
                pollfd{ended, POLLIN, 0},
                // -1 is left out: it stays readable once it is.
                pollfd{interrupted_by_.empty() ? signals_.fd() : -1, POLLIN, 0}};
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

    // A second signal leaves at once (signals.hpp).
    void interrupt() {
        interrupted_by_ = signals_.received();
        session_.cancel(fmt::format("{} received", interrupted_by_));
    }

    Session& session_;
    const Signals& signals_;
    Progress progress_;
    std::string_view interrupted_by_;  // its name, a literal
};

}  // namespace migrate::cli
