// SPDX-License-Identifier: Apache-2.0
#include "cli/run_result.hpp"

#include <nlohmann/json.hpp>

#include "base/version.hpp"
#include "cli/advice.hpp"
#include "cli/monitoring/metrics.hpp"
#include "cli/report_context.hpp"
#include "cli/result_write.hpp"
#include "engine/report/schemas.hpp"

namespace migrate::cli {
namespace {

using engine::GuestOwner;
using engine::MigrationStatus;
using engine::Report;

std::string_view side_name(Side side) { return side == Side::kSend ? "send" : "recv"; }

// Before a session starts, a guest is still at its source.
GuestOwner owner_before_session(const Settings& settings) {
    if (settings.side() == Side::kRecv) return GuestOwner::kNone;
    const std::string& source = settings.get<"source">();
    const bool runs = source.starts_with("workload:") || source.starts_with("qemu:") ||
                      source.starts_with("pid:");
    return runs ? GuestOwner::kSource : GuestOwner::kNone;
}

// On a journey every other leg goes back; the source of such a leg is the command's destination.
GuestOwner owner_for(Side side, const Report& report) {
    if (report.side == side_name(side)) return report.guest_owner;
    if (report.guest_owner == GuestOwner::kSource) return GuestOwner::kDestination;
    if (report.guest_owner == GuestOwner::kDestination) return GuestOwner::kSource;
    return report.guest_owner;
}

// Returns the report of a migration, or of the next leg of a journey, that never had a session.
Report unstarted(const Settings& settings, const std::vector<Report>& reports) {
    Report report;
    const bool sends = settings.side() == Side::kSend;
    report.side = side_name(settings.side());
    report.memory = sends ? settings.get<"source">() : settings.get<"sink">();
    report.guest_owner = owner_before_session(settings);
    report.began = std::chrono::system_clock::now();
    add_context(report, settings);
    if (reports.empty()) return report;
    report.side = reports.back().side == "send" ? "recv" : "send";
    report.leg = reports.back().leg + 1;
    report.guest_owner = GuestOwner::kSource;
    return report;
}

std::string statistics(const Settings& settings, const std::vector<Report>& reports) {
    return settings.get<"repeat">() != 0 ? to_json(reports) : to_json(reports.back());
}

std::string metrics_of(const Report& report, const Settings& settings) {
    return metrics_text(metric_families(report, settings.get<"guest-name">()));
}

Result<std::unique_ptr<engine::EventLog>> open_events(const std::string& path) {
    if (path.empty()) return std::make_unique<engine::EventLog>();
    // OutputFile replaces the file first: the log truncates the file that it opens, and an older
    // file may be in use elsewhere.
    MIGRATE_ASSIGN(const OutputFile emptied, OutputFile::open("events", path, ""));
    return engine::EventLog::open(path);
}

// Makes the files that are open say how the run has ended, although another one cannot be opened.
// Returns the error.
Error conclude_opened(const RunFiles& files, const Settings& settings, Error error) {
    Report failed = unstarted(settings, {});
    failed.outcome = outcome_of(error);
    failed.status = engine::final_status_of(*failed.outcome);
    failed.error_desc = error.message();
    failed.ended = std::chrono::system_clock::now();
    static_cast<void>(files.stats.write(statistics(settings, {failed})));
    static_cast<void>(files.metrics.write(metrics_of(failed, settings)));
    return error;
}

// Says which command and which program the events are of. QMP has no client yet.
void emit_begin(engine::EventLog& events, const Report& report) {
    std::vector<engine::EventField> fields{{"format", engine::kEventsFormat},
                                           {"version", std::string(kVersion)},
                                           {"side", report.side}};
    if (!report.host.empty()) fields.emplace_back("host", report.host);
    fields.emplace_back("settings", report.settings);
    events.emit("MIGRATION_BEGIN", fields);
}

}  // namespace

Result<RunFiles> open_run_files(const Settings& settings) {
    if (settings.side() == Side::kRecv) {
        MIGRATE_TRY(remove_old_file("port", settings.get<"port-file">()));
    }
    std::vector<Report> begins{unstarted(settings, {})};
    begins.back().status = MigrationStatus::kSetup;
    RunFiles files;
    MIGRATE_ASSIGN(files.stats, OutputFile::open("stats", settings.get<"stats">(),
                                                 statistics(settings, begins)));
    Result<OutputFile> metrics = OutputFile::open("metrics", settings.get<"metrics-file">(),
                                                  metrics_of(begins.back(), settings));
    if (!metrics) return conclude_opened(files, settings, std::move(metrics).error());
    files.metrics = *std::move(metrics);
    Result<std::unique_ptr<engine::EventLog>> events = open_events(settings.get<"events">());
    if (!events) return conclude_opened(files, settings, std::move(events).error());
    files.events = *std::move(events);
    emit_begin(*files.events, begins.back());
    return files;
}

RunResult::RunResult(const Settings& settings, Console console)
    : settings_(settings),
      console_(console),
      outputs_(settings),
      events_(std::make_unique<engine::EventLog>()) {
    static_cast<void>(own_host_name());
}

void RunResult::may_write_files() {
    stats_ = OutputFile::unopened("stats", settings_.get<"stats">());
    outputs_.write_to(OutputFile::unopened("metrics", settings_.get<"metrics-file">()));
}

void RunResult::give_up_files() {
    stats_ = {};
    outputs_.write_to({});
}

void RunResult::adopt(RunFiles files) {
    stats_ = std::move(files.stats);
    outputs_.write_to(std::move(files.metrics));
    events_ = std::move(files.events);
}

void RunResult::add(Report report) {
    add_context(report, settings_);
    // A receiver to which no sender came has not begun a session.
    if (report.began == std::chrono::system_clock::time_point{}) report.began = began_;
    outputs_.update(report);
    reports_.push_back(std::move(report));
}

void RunResult::guest_fared(const Status& checked) {
    if (checked) return;
    guest_ = checked;
    last().status = MigrationStatus::kFailed;
    last().outcome = Outcome::kFailed;
    last().error_desc = checked.error().message();
}

void RunResult::note(std::string_view key, const Status& status) {
    if (status) return;
    console_.report(status.error());
    notes_.emplace_back(key, status.error().message());
}

// If a run ended without a session, or between two legs, adds a report for the part that did not
// begin.
Status RunResult::settle(Status status) {
    const bool leg_missing =
        !status && guest_ && has_report() && last().outcome == Outcome::kCompleted;
    if (has_report() && !leg_missing) return status;
    if (!status) {
        const Stage stage = has_report() ? Stage::kBeforePages : Stage::kBeforeSession;
        status = settled(std::move(status).error(), stage);
    }
    Report report = unstarted(settings_, reports_);
    report.outcome = outcome_of(status);
    report.status = engine::final_status_of(*report.outcome);
    if (!status) report.error_desc = status.error().message();
    report.ended = std::chrono::system_clock::now();
    if (reports_.empty()) report.began = began_;
    engine::emit_end(*events_, status, report.guest_owner);
    reports_.push_back(std::move(report));
    return status;
}

int RunResult::conclude(Status status) {
    status = settle(std::move(status));
    note("stats-error", write_result(std::move(stats_), statistics(settings_, reports_)));
    std::string reason;
    for (const Status* one : {&guest_, &status}) {
        if (*one) continue;
        console_.report(one->error());
        reason += (reason.empty() ? "" : "; ") + one->error().message();
    }
    const Outcome outcome = guest_ ? outcome_of(status) : Outcome::kFailed;
    outputs_.finish(reports_.back(), reason.empty() ? name_of(outcome) : reason);
    console_.advise(advice_for(outcome, owner_for(settings_.side(), reports_.back())));
    // A program that reads the line may read the events next.
    static_cast<void>(events_->flush());
    console_.last_line(json_line(outcome, reason, reports_.back()));
    return exit_code_of(outcome);
}

int RunResult::leave_at_once(std::string_view signal, std::optional<Report> report) const {
    if (!report) {
        report = unstarted(settings_, {});
        report->guest_owner = GuestOwner::kUnknown;
    }
    const GuestOwner owner = report->guest_owner;
    const bool lost = engine::is_postcopy(report->status);
    const Outcome outcome = lost                                ? Outcome::kFailed
                            : owner == GuestOwner::kUnknown     ? Outcome::kOwnerUnknown
                            : owner == GuestOwner::kDestination ? Outcome::kCompleted
                                                                : Outcome::kCancelled;
    report->status = engine::final_status_of(outcome);
    const std::string reason =
        fmt::format("{} again: leaving at once{}", signal,
                    lost ? ": the guest is lost, since not all of its memory has moved" : "");
    console_.warn(reason);
    console_.last_line(json_line(outcome, reason, *report));
    return exit_code_of(outcome);
}

std::string RunResult::json_line(Outcome outcome, const std::string& reason,
                                 const Report& report) const {
    nlohmann::ordered_json line = {{"outcome", name_of(outcome)},
                                   {"exit-code", exit_code_of(outcome)},
                                   {"reason", reason},
                                   {"guest-owner", name_of(owner_for(settings_.side(), report))},
                                   {"side", side_name(settings_.side())},
                                   {"status", name_of(report.status)},
                                   {"total-time", engine::whole_ms(report.total_time)},
                                   {"setup-time", engine::whole_ms(report.setup_time)}};
    if (report.has_downtime()) line["downtime"] = engine::whole_ms(report.downtime.total);
    line["transferred"] = report.transferred;
    line["pages"] = report.pages.total();
    if (report.leg != 0) line["leg"] = report.leg;
    for (const auto& [key, message] : notes_) line[key] = message;
    return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

int conclude_wrong_usage(const Settings& settings, const Error& error) {
    // Does not open its files: an invalid command line may name any file as one of them.
    return RunResult(settings).conclude(error);
}

}  // namespace migrate::cli
