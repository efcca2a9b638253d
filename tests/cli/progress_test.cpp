// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.hpp"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "cli/cli_test_support.hpp"

namespace migrate::cli {
namespace {

using test::contains;

// In the second round of a live migration: 512 of 1024 pages of the round are sent.
engine::Report second_round() {
    engine::Report report;
    report.status = engine::MigrationStatus::kActive;
    report.total_bytes = 1000 * kPageSize;
    report.total_time = std::chrono::seconds(61);
    report.planned_pages = 2024;
    report.round = 2;
    report.round_pages = 1024;
    report.pages.normal = 1512;
    engine::RoundReport round;
    round.figures.duration = std::chrono::seconds(1);
    round.figures.dirty_pages = 512;
    report.rounds.push_back(round);
    report.expected_downtime = std::chrono::milliseconds(40);
    report.guest.emplace();
    return report;
}

TEST_CASE("the progress of a live migration is its round, what is left and the downtime ahead") {
    engine::Report report = second_round();
    CHECK(progress_text(report) ==
          "[#####-----]  round 2  2.00 MiB remaining  1:01 elapsed  dirty 2.0 MiB/s  expected "
          "downtime 40 ms");
    report.progress = progress_of(report, {.bytes = 4.0 * kMiB, .pages = 1024});
    CHECK(progress_text(report) ==
          "[#####-----]  round 2  2.00 MiB remaining  4.0 MiB/s  1:01 elapsed  0:01 left  dirty "
          "2.0 MiB/s  expected downtime 40 ms");
}

TEST_CASE("the progress changes within a round, at the receiver too") {
    engine::Report report = second_round();
    report.rounds.clear();
    report.pages.normal += 256;
    CHECK(progress_text(report) == "[#######---]  round 2  1.00 MiB remaining  1:01 elapsed");
    report.pages.normal += 256;
    CHECK(progress_text(report) == "[##########]  round 2  0 bytes remaining  1:01 elapsed");
}

TEST_CASE("the progress line shows the throttle where there is one, and a stall") {
    engine::Report report = second_round();
    report.guest->cpu_throttle = 30;
    CHECK(contains(progress_text(report), "expected downtime 40 ms  throttle 30 %"));
    report.rounds.back().decision.stalled = true;
    CHECK(contains(progress_text(report), "throttle 30 %  stalled"));
    report.guest->cpu_throttle = 0;
    CHECK(contains(progress_text(report), "40 ms  stalled"));
}

TEST_CASE("the progress of a first round is its share, and other states are named") {
    engine::Report report = second_round();
    report.rounds.clear();
    report.round = 1;
    report.round_pages = report.planned_pages = 1000;
    report.pages.normal = 250;
    CHECK(contains(progress_text(report), "[##--------]   25 %  1000.00 KiB of 3.91 MiB  "));
    report.status = engine::MigrationStatus::kDevice;
    CHECK(progress_text(report) == "status: device");
}

TEST_CASE("a guest that writes as fast as its memory is sent has no time left to show") {
    engine::Report report = second_round();
    report.progress = progress_of(report, {.bytes = 2.0 * kMiB, .pages = 512});
    CHECK_FALSE(contains(progress_text(report), " left"));
}

TEST_CASE("progress goes to a pipe only if it is asked for") {
    CHECK(choose_progress(AutoOnOff::kAuto, false) == ProgressStyle::kNone);
    CHECK(choose_progress(AutoOnOff::kOn, false) == ProgressStyle::kLines);
    CHECK(choose_progress(AutoOnOff::kAuto, true) == ProgressStyle::kTerminal);
    CHECK(choose_progress(AutoOnOff::kOff, true) == ProgressStyle::kNone);
}

TEST_CASE("progress is an event while pages move, whether or not it is printed") {
    engine::EventLog events;
    std::vector<nlohmann::json> seen;
    events.listen([&](std::string_view name, const std::string& data) {
        CHECK(name == "MIGRATION_PROGRESS");
        seen.push_back(nlohmann::json::parse(data));
    });
    Progress progress(ProgressStyle::kNone, events);
    CHECK(progress.interval() <= std::chrono::milliseconds(500));
    engine::Report report = second_round();
    report.peer = "192.0.2.1:4444";
    progress.update(report);
    CHECK(seen.empty());
    report.progress = progress_of(report, {.bytes = 4.0 * kMiB, .pages = 1024});
    progress.update(report);
    REQUIRE(seen.size() == 1);
    CHECK(seen[0]["pass"] == 2);
    CHECK(seen[0]["remaining"] == 2 * kMiB);
    CHECK(seen[0]["bytes-per-second"] == 4 * kMiB);
    CHECK(seen[0]["total-time"] == 61'000);
    CHECK(seen[0]["time-left"] == 1000);
}

}  // namespace
}  // namespace migrate::cli
