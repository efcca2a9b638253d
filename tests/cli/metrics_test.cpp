// SPDX-License-Identifier: Apache-2.0
#include "cli/monitoring/metrics.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>

#include "catch.hpp"
#include "engine/report/session_report.hpp"

namespace migrate::cli {
namespace {

using engine::MigrationStatus;
using engine::Report;
using std::chrono::microseconds;

// A sender in its third round.
Report running() {
    Report report;
    report.side = "send";
    report.status = MigrationStatus::kActive;
    report.memory = "qemu:/run/vm.qmp";
    report.peer = "192.0.2.7:4444";
    report.guest_owner = engine::GuestOwner::kSource;
    report.total_time = microseconds(3'500'000);
    report.setup_time = microseconds(250'000);
    report.total_bytes = 1000 * kPageSize;
    report.pages = {100, 50, 6};
    report.transferred = 12345;
    report.multifd.channels = 4;
    report.outages.duration = microseconds(1'500'000);
    report.progress = engine::ProgressReport{.speed = {.bytes = 2e6, .pages = 500},
                                             .time_left = microseconds(7'000'000)};
    report.guest.emplace();
    report.guest->cpu_throttle = 30;
    report.round = 3;
    report.planned_pages = 200;
    report.expected_downtime = microseconds(420'000);
    engine::RoundReport round;
    round.decision.downtime_limit = microseconds(300'000);
    round.decision.stalled = true;
    report.rounds.push_back(round);
    return report;
}

Report completed() {
    Report report = running();
    report.status = MigrationStatus::kCompleted;
    report.outcome = Outcome::kCompleted;
    report.progress.reset();
    report.downtime.total = microseconds(210'500);
    report.downtime.load = microseconds(500);
    return report;
}

bool has_line(const std::string& text, const std::string& line) {
    const bool found = text.find("\n" + line + "\n") != std::string::npos;
    if (!found) UNSCOPED_INFO("missing: " << line);
    return found;
}

TEST_CASE("the metrics of a running migration have base units and QEMU's names") {
    const std::string text = "\n" + metrics_text(metric_families(running(), "web1"));
    INFO(text);
    const std::string labels = R"({side="send",guest="web1"})";
    CHECK(has_line(text, "# TYPE migrate_ram_transferred_bytes_total counter"));
    CHECK(has_line(text, "migrate_ram_transferred_bytes_total" + labels + " 12345"));
    CHECK(has_line(text, "migrate_ram_size_bytes" + labels + " 4096000"));
    CHECK(has_line(text, "migrate_ram_remaining_bytes" + labels + " 180224"));
    CHECK(has_line(text, "migrate_total_time_seconds" + labels + " 3.5"));
    CHECK(has_line(text, "migrate_setup_time_seconds" + labels + " 0.25"));
    CHECK(has_line(text, "migrate_time_left_seconds" + labels + " 7"));
    CHECK(has_line(text, "migrate_outage_seconds_total" + labels + " 1.5"));
    CHECK(has_line(text, "migrate_ram_bytes_per_second" + labels + " 2000000"));
    CHECK(has_line(text, "migrate_multifd_channels" + labels + " 4"));
    CHECK(has_line(text, R"(migrate_ram_pages{side="send",guest="web1",kind="duplicate"} 50)"));
    CHECK(has_line(text, "migrate_stalled" + labels + " 1"));
    CHECK(text.find("migrate_expected_downtime_seconds" + labels + " 0.42") != std::string::npos);
    CHECK(text.find("migrate_downtime_limit_seconds" + labels + " 0.3") != std::string::npos);
    CHECK(text.find("migrate_cpu_throttle_ratio" + labels + " 0.3") != std::string::npos);
    CHECK(text.find("migrate_downtime_seconds") == std::string::npos);
    CHECK(text.find("migrate_outcome") == std::string::npos);
}

TEST_CASE("exactly one state of each set is the present one") {
    for (const Report& report : {running(), completed(), Report{}}) {
        for (const auto& family : metric_families(report, "")) {
            if (family.name != "migrate_status" && family.name != "migrate_outcome" &&
                family.name != "migrate_guest_owner") {
                continue;
            }
            INFO(family.name);
            CHECK(family.metric.size() > 3);
            CHECK(std::count_if(family.metric.begin(), family.metric.end(),
                                [](const auto& one) { return one.gauge.value == 1; }) == 1);
        }
    }
}

TEST_CASE("the metrics of a migration that ended have its outcome and its downtime") {
    const std::string text = "\n" + metrics_text(metric_families(completed(), ""));
    INFO(text);
    CHECK(has_line(text, R"(migrate_outcome{side="send",guest="",outcome="completed"} 1)"));
    CHECK(has_line(text, R"(migrate_outcome{side="send",guest="",outcome="failed"} 0)"));
    CHECK(text.find(R"(migrate_downtime_seconds{side="send",guest=""} 0.2105)") !=
          std::string::npos);
    CHECK(text.find(R"(guest="",part="load"} 0.0005)") != std::string::npos);
    CHECK(text.find("migrate_ram_remaining_bytes") == std::string::npos);
    CHECK(text.find("migrate_time_left_seconds") == std::string::npos);
    CHECK(text.find("goal-missed") == std::string::npos);
}

TEST_CASE("a label with a quote or a line end leaves the format intact") {
    Report report = running();
    report.memory = "file:a\"b\\c\nd";
    const std::string text = metrics_text(metric_families(report, "x\"y"));
    CHECK(text.find(R"(memory="file:a\"b\\c\nd")") != std::string::npos);
    CHECK(text.find(R"(guest="x\"y")") != std::string::npos);
}

TEST_CASE("the documents list every metric and no other") {
    std::ifstream file(std::string(MIGRATE_SOURCE_DIR) + "/docs/metrics.md");
    const std::string page(std::istreambuf_iterator<char>(file), {});
    std::size_t listed = 0;
    for (std::size_t at = 0; (at = page.find("\n| `migrate_", at)) != std::string::npos; ++at) {
        ++listed;
    }
    MetricFamilies families = metric_families(running(), "");
    for (auto& family : metric_families(completed(), "")) {
        const bool known = std::any_of(families.begin(), families.end(),
                                       [&](const auto& one) { return one.name == family.name; });
        if (!known) families.push_back(std::move(family));
    }
    for (const auto& family : families) {
        INFO(family.name);
        const bool counts = family.type == prometheus::MetricType::Counter;
        CHECK(page.find("\n| `" + family.name + "` | " + (counts ? "counter" : "gauge")) !=
              std::string::npos);
        CHECK(family.help.ends_with('.'));
        CHECK_FALSE(family.metric.empty());
    }
    CHECK(listed == families.size());
}

}  // namespace
}  // namespace migrate::cli
