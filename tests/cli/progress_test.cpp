#include "cli/progress.hpp"

#include "catch.hpp"
#include "cli/cli_test_support.hpp"

namespace migrate::cli {
namespace {

using test::contains;

// In the second round of a live migration.
engine::Report second_round() {
    engine::Report report;
    report.status = engine::MigrationStatus::kActive;
    report.total_bytes = 1000 * kPageSize;
    engine::RoundReport round;
    round.figures.duration = std::chrono::seconds(1);
    round.figures.dirty_pages = 512;
    report.rounds.push_back(round);
    report.dirty_pages = 512;
    report.expected_downtime = std::chrono::milliseconds(40);
    report.guest.emplace();
    return report;
}

std::string text_of(const engine::Report& report) {
    return progress_text(report, 0, std::chrono::seconds(1));
}

TEST_CASE("the progress of a live migration is its round, what is left and the downtime ahead") {
    CHECK(text_of(second_round()) ==
          "round 2  2.00 MiB remaining  dirty 2 MiB/s  expected downtime 40 ms");
}

TEST_CASE("the progress line shows the throttle where there is one, and a stall") {
    engine::Report report = second_round();
    report.guest->cpu_throttle = 30;
    CHECK(contains(text_of(report), "expected downtime 40 ms  throttle 30 %"));
    report.rounds.back().decision.stalled = true;
    CHECK(contains(text_of(report), "throttle 30 %  stalled"));
    report.guest->cpu_throttle = 0;
    CHECK(contains(text_of(report), "40 ms  stalled"));
}

TEST_CASE("the progress of a first round is its share, and other states are named") {
    engine::Report report = second_round();
    report.rounds.clear();
    report.pages.normal = 250;
    CHECK(contains(text_of(report), " 25 %  "));
    report.status = engine::MigrationStatus::kDevice;
    CHECK(text_of(report) == "status: device");
}

}  // namespace
}  // namespace migrate::cli
