// Runs a session while this thread shows progress and takes signals.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/config/settings.hpp"
#include "base/output.hpp"
#include "base/thread.hpp"
#include "cli/console.hpp"
#include "cli/output_file.hpp"
#include "cli/progress.hpp"
#include "cli/signals.hpp"

namespace migrate::cli {

inline Progress make_progress(const Settings& settings) {
    return Progress(choose_progress(settings.get<"progress">(), ::isatty(STDERR_FILENO) == 1));
}

// What a receiver says once it listens: where, and its port to the file that asks for it.
inline Status announce_listener(const Console& console, const std::string& endpoint,
                                const std::string& port_file, std::uint16_t port) {
    console.say(fmt::format("listening on {}\n", endpoint));
    if (port_file.empty()) return {};
    Status written = write_file_at_once(port_file, fmt::format("{}\n", port));
    if (!written) return std::move(written).error().as(ErrorKind::kUsage);
    return {};
}

// The session runs on a thread of its own; this one shows progress and takes signals until it has
// ended.
template <typename Session>
class Runner {
  public:
    // For a second signal: concludes the run without waiting for it, and returns the exit code.
    using Leave = std::function<int(std::string_view signal)>;

    Runner(Session& session, const Signals& signals, Progress progress, Leave leave)
        : session_(session), signals_(signals), progress_(progress), leave_(std::move(leave)) {}

    // Name of the signal that came during run(), whether or not the session could still be
    // cancelled; empty if none came.
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
        wait(ended.get());
        thread.join();
        progress_.finish();
        return result;
    }

  private:
    // If it cannot wait, the session is cancelled, which is then the reason, unless it is too late.
    void wait(int ended) {
        while (true) {
            std::array<pollfd, 2> polled{pollfd{ended, POLLIN, 0},
                                         pollfd{signals_.fd(), POLLIN, 0}};
            const int ready = ::poll(polled.data(), polled.size(),
                                     static_cast<int>(progress_.interval().count()));
            if (ready < 0 && errno != EINTR) {
                session_.cancel(Error::system("wait for the migration", errno).message());
                return;
            }
            if (polled[0].revents != 0) return;
            if (polled[1].revents != 0) interrupt();
            progress_.update(session_.report());
        }
    }

    void interrupt() {
        const std::string_view name = signals_.take();
        if (!interrupted_by_.empty()) {
            progress_.finish();
            const int code = leave_(name);
            output::flush();
            ::_exit(code);
        }
        interrupted_by_ = name;
        session_.cancel(fmt::format("{} received", name));
    }

    Session& session_;
    const Signals& signals_;
    Progress progress_;
    Leave leave_;
    std::string_view interrupted_by_;  // its name, a literal
};

}  // namespace migrate::cli
