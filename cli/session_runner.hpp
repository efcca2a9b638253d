// SPDX-License-Identifier: Apache-2.0
// Runs a session while this thread shows progress and takes signals.
#pragma once

#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/blocking_call.hpp"
#include "base/catching.hpp"
#include "base/config/settings.hpp"
#include "base/replacement_file.hpp"
#include "base/thread.hpp"
#include "base/wait.hpp"
#include "cli/output_file.hpp"
#include "cli/progress.hpp"
#include "cli/run_result.hpp"
#include "cli/sandbox.hpp"
#include "cli/signals.hpp"
#include "engine/report/report.hpp"
#include "engine/session_config.hpp"
#include "transport/address.hpp"
#include "transport/security.hpp"

namespace migrate::cli {

inline Progress make_progress(const Settings& settings, engine::EventLog& events) {
    const AutoOnOff wanted =
        settings.get<"quiet">() ? AutoOnOff::kOff : settings.get<"progress", AutoOnOff>();
    return {choose_progress(wanted, ::isatty(STDERR_FILENO) == 1), events};
}

// Opens the run's files and the port of its metrics, unless a signal comes first.
inline Status open_outputs(const Settings& settings, const Signals& signals, RunResult& result) {
    Result<RunFiles> files = unless_signalled<RunFiles>(
        signals, "open the output files", [settings] { return open_run_files(settings); });
    if (!files) {
        // A second attempt at the end could wait for the same file system.
        result.give_up_files();
        return std::move(files).error();
    }
    result.adopt(*std::move(files));
    MIGRATE_TRY(result.outputs().serve(signals));
    if (!result.outputs().metrics_endpoint().empty()) {
        result.console().say(
            fmt::format("metrics on http://{}/metrics\n", result.outputs().metrics_endpoint()));
    }
    return {};
}

// Reads the credentials, unless a signal comes first. `addresses`: those of the paths, or of
// --listen.
inline Result<transport::Security> read_security(const Signals& signals, const Settings& settings,
                                                 const std::vector<transport::Address>& addresses) {
    return unless_signalled<transport::Security>(
        signals, "read the TLS credentials",
        [settings, addresses] { return engine::make_security(settings, addresses); });
}

// Says on which address a receiver listens and what confines it, and writes its port to the
// requested file.
inline Status announce_listener(RunResult& result, const std::string& endpoint,
                                const Sandbox& sandbox, const std::string& port_file,
                                std::uint16_t port) {
    result.console().say(fmt::format("listening on {}\nsandbox: {}\n", endpoint, sandbox.text()));
    if (!port_file.empty()) {
        Status written = write_whole_file(port_file, fmt::format("{}\n", port));
        if (!written) return std::move(written).error().as(ErrorKind::kUsage);
    }
    result.outputs().ready(fmt::format("waiting for a sender on {}", endpoint), endpoint);
    return {};
}

// Returns a report, or nothing if the session does not answer within 200 ms: for a user who cannot
// wait.
template <typename Session>
std::optional<engine::Report> report_at_once(const Session& session) {
    auto report = call_within<engine::Report>(
        "report", {.timeout = std::chrono::milliseconds(200)},
        [&session]() -> Result<engine::Report> { return session.report(); });
    return report ? std::optional(*std::move(report)) : std::nullopt;
}

// Runs the session on a thread of its own; the calling thread shows progress and takes signals
// until the session has ended.
template <typename Session>
class Runner {
  public:
    // Handles a second signal: concludes the run without waiting for it, and returns the exit code.
    using Leave = Signals::Leave;
    // Sees a report about twice a second, before any peer is connected too.
    using Watcher = std::function<void(const engine::Report&)>;

    Runner(
        Session& session, const Signals& signals, Progress progress, Leave leave,
        Watcher watcher = [](const engine::Report&) {})
        : session_(session),
          signals_(signals),
          progress_(progress),
          leave_(std::move(leave)),
          watcher_(std::move(watcher)) {}

    // Name of the signal that came during run(), even if the session could not be cancelled any
    // more; empty if none came.
    std::string_view interrupted_by() const { return interrupted_by_; }

    Status run(const std::string& thread_name) {
        const Result<Wakeup> ended = Wakeup::create();
        if (!ended) return session_.fail(ended.error());
        Status result;
        Cancellation unused;
        const auto work = [&]() -> Status {
            // catching() makes sure that the end is signalled below in every case; nothing else
            // signals it.
            result = catching(thread_name, [this] { return session_.run(); });
            ended->wake();
            return {};
        };
        Result<SessionThread> thread =
            SessionThread::start(thread_name, session_.thread_times(), unused, work);
        if (!thread) return session_.fail(std::move(thread).error());
        signals_.on_second(leave_);
        const Status waited = catching("wait for the migration", [&] { return wait(ended->fd()); });
        // Cancels the session, with this as the reason, unless it is too late. The text is short
        // enough to need no allocation.
        if (!waited) session_.cancel("cannot wait");
        thread->join();
        signals_.on_second({});
        if (!interrupted_by_.empty()) static_cast<void>(signals_.take());
        progress_.finish();
        return result;
    }

  private:
    Status wait(int ended) {
        while (true) {
            std::array<pollfd, 2> polled{
                pollfd{ended, POLLIN, 0},
                // -1 leaves it out: the descriptor stays readable once a signal has come.
                pollfd{interrupted_by_.empty() ? signals_.fd() : -1, POLLIN, 0}};
            if (wait_for_any(polled, after(progress_.interval())) < 0) {
                return Error::system("wait for the migration", errno);
            }
            if (polled[0].revents != 0) return {};
            if (polled[1].revents != 0) interrupt();
            // If showing progress runs out of memory, the session continues.
            static_cast<void>(catching("progress", [this]() -> Status {
                const engine::Report report = session_.report();
                progress_.update(report);
                watcher_(report);
                return {};
            }));
        }
    }

    // A second signal does not come here; it ends the program immediately (signals.hpp).
    void interrupt() {
        interrupted_by_ = signals_.received();
        const Status cancelled = catching("cancel", [&]() -> Status {
            session_.cancel(fmt::format("{} received", interrupted_by_));
            return {};
        });
        // Short enough to need no allocation.
        if (!cancelled) session_.cancel("interrupted");
    }

    Session& session_;
    const Signals& signals_;
    Progress progress_;
    Leave leave_;
    Watcher watcher_;
    std::string_view interrupted_by_;  // the signal's name, a literal
};

}  // namespace migrate::cli
