// SPDX-License-Identifier: Apache-2.0
#include "cli/run_result.hpp"

#include <nlohmann/json.hpp>
#include <optional>

#include "captured_console.hpp"
#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::cli {
namespace {

using engine::GuestOwner;
using engine::MigrationStatus;
using nlohmann::json;

// A run that ends, and what it leaves.
struct Ended {
    int code = -1;
    json line;
    std::string err;
};

class Run {
  public:
    explicit Run(Side side = Side::kSend, const char* source = "anon:1M") : settings_(side) {
        set("json", "on");
        if (side == Side::kSend) set("source", source);
    }
    Run& set(const char* key, const std::string& value) {
        REQUIRE(settings_.set(key, value));
        return *this;
    }
    RunResult& begin() {
        make().adopt(must(open_run_files(settings_)));
        return *result_;
    }
    RunResult& make() { return result_.emplace(settings_, output_.console(OutputFormat::kJson)); }
    Ended conclude(Status status) {
        if (!result_) make();
        const int code = result_->conclude(std::move(status));
        const std::string& text = output_.out();
        CHECK(std::count(text.begin(), text.end(), '\n') == 1);
        CHECK(text.ends_with('\n'));
        return {code, json::parse(text), output_.err()};
    }
    const std::string& err() const { return output_.err(); }

  private:
    test::CapturedConsole output_;
    Settings settings_;
    std::optional<RunResult> result_;
};

engine::Report ended_report(const Status& status, GuestOwner owner, const char* side = "send") {
    engine::Report report;
    report.side = side;
    report.outcome = outcome_of(status);
    report.status = engine::final_status_of(*report.outcome);
    if (!status) report.error_desc = status.error().message();
    report.guest_owner = owner;
    return report;
}

TEST_CASE("a run's exit code, line and statistics agree, whatever the outcome") {
    for (const ErrorKind kind : {ErrorKind::kFailed, ErrorKind::kRefused, ErrorKind::kCancelled,
                                 ErrorKind::kNotConverged, ErrorKind::kOwnerUnknown}) {
        const TemporaryFolder folder;
        write_file(folder / "stats", R"({"status":"completed"})");
        Run run;
        run.set("stats", folder / "stats").begin();
        CHECK(json::parse(read_file(folder / "stats"))["status"] == "setup");
        const Status status = Error(kind, "because");
        const OutcomeRow& row = row_of(outcome_of(status));
        run.begin().add(ended_report(status, GuestOwner::kSource));
        const Ended ended = run.conclude(status);
        CHECK(ended.code == row.exit_code);
        CHECK(ended.line["outcome"] == row.word);
        CHECK(ended.line["exit-code"] == row.exit_code);
        CHECK(ended.line["reason"] == "because");
        CHECK(ended.line["guest-owner"] == "source");
        CHECK(ended.err.find(": because\n") != std::string::npos);
        const json stats = json::parse(read_file(folder / "stats"));
        CHECK(stats["outcome"] == row.word);
        CHECK(stats["status"] == (kind == ErrorKind::kCancelled ? "cancelled" : "failed"));
        CHECK(stats["error-desc"] == "because");
    }
}

TEST_CASE("statistics that cannot be written are reported and change no outcome") {
    for (const bool succeeds : {true, false}) {
        TemporaryFolder folder;
        std::filesystem::create_directory(folder / "in");
        Run run;
        run.set("stats", folder / "in/stats");
        const Status status = succeeds ? Status() : Error(ErrorKind::kCancelled, "SIGINT");
        run.begin().add(ended_report(status, GuestOwner::kDestination));
        std::filesystem::remove_all(folder / "in");
        const Ended ended = run.conclude(status);
        CHECK(ended.code == (succeeds ? 0 : 4));
        CHECK(ended.line["outcome"] == (succeeds ? "completed" : "cancelled"));
        const std::string error = ended.line["stats-error"];
        CHECK(error.find(folder / "in/stats") != std::string::npos);
        CHECK(ended.err.find(error) != std::string::npos);
    }
}

TEST_CASE("a run that fails before it opens its files replaces an older result") {
    const TemporaryFolder folder;
    write_file(folder / "stats", R"({"status":"completed"})");
    Run run(Side::kRecv);
    run.set("stats", folder / "stats").make().may_write_files();
    CHECK(run.conclude(Error(ErrorKind::kRefused, "no sandbox")).code == 3);
    const json stats = json::parse(read_file(folder / "stats"));
    CHECK(stats["status"] == "failed");
    CHECK(stats["error-desc"] == "no sandbox");
}

TEST_CASE("wrong usage and files that cannot be opened touch no file of an earlier run") {
    const TemporaryFolder folder;
    write_file(folder / "stats", "kept");
    Run run;
    RunResult& result = run.set("stats", folder / "stats").make();
    if (GENERATE(true, false)) {
        result.may_write_files();
        result.give_up_files();
    }
    CHECK(run.conclude(Error(ErrorKind::kUsage, "wrong")).code == 2);
    CHECK(read_file(folder / "stats") == "kept");
}

TEST_CASE("the files say how a run ended of which another file cannot be written") {
    const TemporaryFolder folder;
    write_file(folder / "stats", R"({"status":"completed"})");
    Settings settings(Side::kSend);
    must(settings.set("source", "anon:1M"));
    must(settings.set("stats", folder / "stats"));
    bool has_metrics = false;
    SECTION("the events") {
        must(settings.set("metrics-file", folder / "metrics"));
        must(settings.set("events", folder / "missing/events"));
        has_metrics = true;
    }
    SECTION("the metrics") { must(settings.set("metrics-file", folder / "missing/metrics")); }
    CHECK_FALSE(open_run_files(settings));
    if (has_metrics) {
        CHECK(read_file(folder / "metrics").find(R"(outcome="usage"} 1)") != std::string::npos);
    }
    const json stats = json::parse(read_file(folder / "stats"));
    CHECK(stats["status"] == "failed");
    CHECK(stats["outcome"] == "usage");
    CHECK_FALSE(stats["error-desc"].get<std::string>().empty());
}

TEST_CASE("a run that ends before its session reports all the same") {
    const TemporaryFolder folder;
    Run run(Side::kSend, "qemu:/run/vm.qmp");
    run.set("stats", folder / "stats").set("events", folder / "events").begin();
    const Ended ended = run.conclude(Error("no dirty tracker can be used"));
    CHECK(ended.code == 3);
    CHECK(ended.line["outcome"] == "refused");
    CHECK(ended.line["guest-owner"] == "source");
    const json stats = json::parse(read_file(folder / "stats"));
    CHECK(stats["side"] == "send");
    CHECK(stats["status"] == "failed");
    CHECK(stats["outcome"] == "refused");
    CHECK(stats["guest-owner"] == "source");
    const std::string events = read_file(folder / "events");
    const std::size_t second = events.find('\n') + 1;
    const json begin = json::parse(events.substr(0, second));
    CHECK(begin["event"] == "MIGRATION_BEGIN");
    CHECK(begin["data"]["side"] == "send");
    CHECK(begin["data"]["settings"]["source"] == "qemu:/run/vm.qmp");
    CHECK(begin["data"]["settings"]["auto-converge"] == false);
    CHECK(json::parse(events.substr(second))["data"]["outcome"] == "refused");
}

TEST_CASE("an error of the network before the session is no refusal, and wrong usage stays it") {
    CHECK(Run().conclude(Error(ErrorKind::kLostConnection, "cannot listen")).code == 1);
    CHECK(Run().conclude(Error(ErrorKind::kUsage, "no such file")).code == 2);
    CHECK(Run().conclude(Error(ErrorKind::kCancelled, "SIGINT received")).code == 4);
}

TEST_CASE("a guest whose memory is wrong fails a run that moved it") {
    const TemporaryFolder folder;
    Run run(Side::kRecv);
    RunResult& result = run.set("stats", folder / "stats").begin();
    result.add(ended_report(Status(), GuestOwner::kDestination, "recv"));
    result.guest_fared(Error("page 7 is wrong"));
    const Ended ended = run.conclude(Status());
    CHECK(ended.code == 1);
    CHECK(ended.line["reason"] == "page 7 is wrong");
    CHECK(ended.line["guest-owner"] == "destination");
    CHECK(json::parse(read_file(folder / "stats"))["status"] == "failed");
}

TEST_CASE("a failure after a migration is noted in the line and changes no outcome") {
    Run run;
    RunResult& result = run.begin();
    result.add(ended_report(Status(), GuestOwner::kDestination));
    result.note("quit-source-error", Error("QEMU does not answer"));
    result.note("stats-error", Status());
    CHECK(run.err() == "migrate: error: QEMU does not answer\n");
    const Ended ended = run.conclude(Status());
    CHECK(ended.code == 0);
    CHECK(ended.line["quit-source-error"] == "QEMU does not answer");
    CHECK_FALSE(ended.line.contains("stats-error"));
}

TEST_CASE("on a journey source and destination are those of the command, not of the leg") {
    const TemporaryFolder folder;
    Run run(Side::kSend, "workload:1M");
    RunResult& result = run.set("repeat", "1").set("stats", folder / "stats").begin();
    CHECK(json::parse(read_file(folder / "stats"))[0]["status"] == "setup");
    engine::Report there = ended_report(Status(), GuestOwner::kDestination);
    there.leg = 1;
    result.add(there);
    engine::Report back = ended_report(Status(), GuestOwner::kDestination, "recv");
    back.leg = 2;
    result.add(back);
    const Ended ended = run.conclude(Status());
    CHECK(ended.code == 0);
    CHECK(ended.line["side"] == "send");
    CHECK(ended.line["leg"] == 2);
    CHECK(ended.line["guest-owner"] == "source");
    CHECK(json::parse(read_file(folder / "stats")).size() == 2);
}

TEST_CASE("a journey that ends between two legs reports the leg that did not begin") {
    const TemporaryFolder folder;
    Run run(Side::kSend, "workload:1M");
    RunResult& result = run.set("repeat", "1").set("stats", folder / "stats").begin();
    engine::Report there = ended_report(Status(), GuestOwner::kDestination);
    there.leg = 1;
    result.add(there);
    const Ended ended = run.conclude(Error(ErrorKind::kCancelled, "SIGINT received"));
    CHECK(ended.code == 4);
    CHECK(ended.line["leg"] == 2);
    CHECK(ended.line["guest-owner"] == "destination");
    const json legs = json::parse(read_file(folder / "stats"));
    REQUIRE(legs.size() == 2);
    CHECK(legs[0]["status"] == "completed");
    CHECK(legs[1]["status"] == "cancelled");
    CHECK(legs[1]["leg"] == 2);
}

TEST_CASE("a second signal reports whether the guest's owner is known") {
    const auto leave = [](GuestOwner owner) {
        const test::CapturedConsole output;
        const Settings settings(Side::kSend);
        RunResult result(settings, output.console(OutputFormat::kJson));
        engine::Report report;
        report.side = "send";
        report.guest_owner = owner;
        const int code = result.leave_at_once("SIGINT", report);
        const json line = json::parse(output.out());
        CHECK(line["exit-code"] == code);
        CHECK(line["guest-owner"] == name_of(owner));
        CHECK(line["reason"] == "SIGINT again: leaving at once");
        return code;
    };
    CHECK(leave(GuestOwner::kSource) == 4);
    CHECK(leave(GuestOwner::kUnknown) == 6);
    // It has arrived already.
    CHECK(leave(GuestOwner::kDestination) == 0);
}

TEST_CASE("a wrong command line touches no file") {
    const TemporaryFolder folder;
    write_file(folder / "image", "precious");
    Settings settings(Side::kSend);
    for (const char* key : {"stats", "events"}) REQUIRE(settings.set(key, folder / "image"));
    CHECK(conclude_wrong_usage(settings, Error(ErrorKind::kUsage, "both write to it")) == 2);
    CHECK(read_file(folder / "image") == "precious");
}

TEST_CASE("an old port file does not outlive the start of a receiver") {
    const TemporaryFolder folder;
    write_file(folder / "port", "4444\n");
    Run(Side::kRecv).set("port-file", folder / "port").begin();
    CHECK(folder.names().empty());
}

TEST_CASE("a quiet console prints errors and the JSON line, and nothing else") {
    const test::CapturedConsole output;
    const Console console(
        OutputFormat::kJson,
        {.out = [](std::string_view text) { test::CapturedConsole::out() += text; },
         .err = [](std::string_view text) { test::CapturedConsole::err() += text; }},
        Loudness::kQuiet);
    console.say("words\n");
    console.advise("try again");
    console.report(Error("broken"));
    console.last_line("{}");
    CHECK(test::CapturedConsole::out() == "{}\n");
    CHECK(test::CapturedConsole::err() == "migrate: error: broken\n");
}

TEST_CASE("text for people leaves standard output to the JSON line") {
    for (const OutputFormat format : {OutputFormat::kText, OutputFormat::kJson}) {
        const test::CapturedConsole output;
        const Console console = output.console(format);
        console.say("words\n");
        console.last_line("{}");
        const bool is_json = format == OutputFormat::kJson;
        CHECK(output.out() == (is_json ? "{}\n" : "words\n"));
        CHECK(output.err() == (is_json ? "words\n" : ""));
    }
}

}  // namespace
}  // namespace migrate::cli
