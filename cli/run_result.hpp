// The results of a run of `send` or `recv`, however it ends: statistics, messages, one line of JSON
// and an exit code. Invariant: all of them name the same outcome, which is the
// migration's: that a file could not be written afterwards is reported and changes nothing.
#pragma once

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
#include "cli/output_file.hpp"
#include "engine/events.hpp"
#include "engine/report.hpp"

namespace migrate::cli {

// The files that a run writes to.
struct RunFiles {
    OutputFile stats;
    std::unique_ptr<engine::EventLog> events;
};

// Opens the files of stats and events, and removes an old port file: from here on no file of an
// earlier run can be taken for one of this. kUsage if one cannot be written. May block.
Result<RunFiles> open_run_files(const Settings& settings);

class RunResult {
  public:
    // `settings` outlive it.
    explicit RunResult(const Settings& settings)
        : RunResult(settings, Console(output_format(settings))) {}
    RunResult(const Settings& settings, Console console);

    const Console& console() const { return console_; }

    void adopt(RunFiles files);
    engine::EventLog& events() { return *events_; }

    // The report of a session that ended.
    void add(engine::Report report) { reports_.push_back(std::move(report)); }
    bool has_report() const { return !reports_.empty(); }
    engine::Report& last() { return reports_.back(); }
    // How the guest fared that went on here after the last session; an error fails the run.
    void guest_fared(const Status& checked);
    // An error after the migration that does not change its outcome, by its key in the JSON line:
    // "quit-source-error".
    void note(std::string_view key, const Status& status);

    // `status` is that of the run: of its session, or of what came before it. Writes and prints
    // all; returns the exit code.
    int conclude(Status status);
    // The end for a user who cannot wait: as conclude(), but no file is written. Without a report
    // it cannot be known who has a guest. Any thread.
    int leave_at_once(std::string_view signal, std::optional<engine::Report> report) const;

  private:
    Status settle(Status status);
    std::string json_line(Outcome outcome, const std::string& reason,
                          const engine::Report& report) const;

    const Settings& settings_;
    Console console_;
    OutputFile stats_;
    std::unique_ptr<engine::EventLog> events_;
    std::vector<engine::Report> reports_;  // one, or one a leg
    Status guest_;
    std::vector<std::pair<std::string, std::string>> notes_;
};

// The end of a command line that is wrong: as far as it can be read, `settings` say which files and
// formats it asks for. No file is touched. Returns the exit code.
int conclude_wrong_usage(const Settings& settings, const Error& error);

}  // namespace migrate::cli
