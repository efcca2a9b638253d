// SPDX-License-Identifier: Apache-2.0
// The results of a run of `send` or `recv`, however it ends: statistics, metrics, messages, one
// line of JSON and an exit code. Invariant: all of them name the same outcome, which is the
// migration's. A failure to write a file afterwards is reported and does not change the outcome.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/config/settings.hpp"
#include "base/error.hpp"
#include "base/outcome.hpp"
#include "cli/console.hpp"
#include "cli/monitoring/live_outputs.hpp"
#include "cli/output_file.hpp"
#include "engine/report/events.hpp"
#include "engine/report/report.hpp"

namespace migrate::cli {

// The files that a run writes to.
struct RunFiles {
    OutputFile stats;
    OutputFile metrics;
    std::unique_ptr<engine::EventLog> events;
};

// Opens the files of stats, metrics and events, and removes an old port file: from then on no file
// of an earlier run can be taken for one of this run. kUsage if one cannot be written. May block.
Result<RunFiles> open_run_files(const Settings& settings);

class RunResult {
  public:
    // `settings` must outlive this object.
    explicit RunResult(const Settings& settings)
        : RunResult(settings, Console(output_format(settings), loudness(settings))) {}
    RunResult(const Settings& settings, Console console);

    const Console& console() const { return console_; }

    // The run may replace the files of statistics and metrics, also if it ends before it has opened
    // its files. Not called for a wrong command line, which may name any file.
    void may_write_files();
    // The run's files could not be opened: none of them is written.
    void give_up_files();
    void adopt(RunFiles files);
    engine::EventLog& events() { return *events_; }
    LiveOutputs& outputs() { return outputs_; }

    // Adds the report of a session that ended.
    void add(engine::Report report);
    bool has_report() const { return !reports_.empty(); }
    engine::Report& last() { return reports_.back(); }
    // Takes the check of the guest that ran on here after the last session; an Error fails the run.
    void guest_fared(const Status& checked);
    // Adds an error after the migration that does not change its outcome; `key` is its key in the
    // JSON line: "quit-source-error".
    void note(std::string_view key, const Status& status);

    // `status` is that of the run: of its session, or of the step before it that failed. Writes and
    // prints all results; returns the exit code.
    int conclude(Status status);
    // Ends the run for a user who cannot wait: does the same as conclude(), but writes no file.
    // Without a report the owner of the guest is not known. Any thread may call it.
    int leave_at_once(std::string_view signal, std::optional<engine::Report> report) const;

  private:
    Status settle(Status status);
    std::string json_line(Outcome outcome, const std::string& reason,
                          const engine::Report& report) const;

    const Settings& settings_;
    const std::chrono::system_clock::time_point began_ = std::chrono::system_clock::now();
    Console console_;
    OutputFile stats_;
    LiveOutputs outputs_;
    std::unique_ptr<engine::EventLog> events_;
    std::vector<engine::Report> reports_;  // one, or one per leg
    Status guest_;
    std::vector<std::pair<std::string, std::string>> notes_;
};

// Concludes an invalid command line: `settings` hold as much as can be read, including the files
// and formats that it requests. Touches no file. Returns the exit code.
int conclude_wrong_usage(const Settings& settings, const Error& error);

}  // namespace migrate::cli
