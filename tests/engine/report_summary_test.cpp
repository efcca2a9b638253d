// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>

#include "catch.hpp"
#include "engine/report/report.hpp"

namespace migrate::engine {
namespace {

using std::chrono::microseconds;

Report image() {
    Report report;
    report.side = "send";
    report.status = MigrationStatus::kCompleted;
    report.memory = "file:guest.mem";
    report.peer = "192.0.2.1:4444";
    report.total_bytes = 512 * kMiB;
    report.total_time = microseconds(1'500'000);
    report.setup_time = microseconds(500'000);
    report.transferred = 128 * kMiB;
    report.multifd.channels = 8;
    report.pages = {32768, 0, 98304};
    return report;
}

Report guest(const char* side) {
    Report report = image();
    report.side = side;
    report.memory = "workload:512M";
    report.guest.emplace();
    report.guest->kind = "workload";
    report.round = 5;
    report.round_pages = 256;
    report.downtime.total = microseconds(12'340);
    report.downtime.stop = microseconds(40);
    report.downtime.last_round = microseconds(9'000);
    report.downtime.resume = microseconds(300);
    return report;
}

TEST_CASE("the summary of an image says what moved, how long, its pages and the proof") {
    Report report = image();
    CHECK(to_summary(report) ==
          "moved: 512.00 MiB from file:guest.mem to 192.0.2.1:4444, plaintext\n"
          "time: 1.50 s, 500 ms of it set-up; sent 128.00 MiB on 8 channels at 128 MiB/s (1.07 "
          "Gbit/s)\n"
          "pages: 32768 with content, 0 zero, 98304 never touched\n"
          "proof: both sides counted the same 131072 pages; --verify digest compares their "
          "content\n");
    report.reuse.pages = 7;
    CHECK(to_summary(report).find("98304 never touched, 7 already there\n") != std::string::npos);
    report.digests = {"00ff"};
    CHECK(to_summary(report).ends_with("proof: digest 00ff on both sides\n"));
    report.digests = {"00ff", "ff00"};
    CHECK(to_summary(report).ends_with("the digests of 2 regions are equal on both sides\n"));
}

TEST_CASE("the receiver's summary names its own memory last") {
    Report report = image();
    report.side = "recv";
    report.memory = "file:copy.mem";
    CHECK(to_summary(report).starts_with(
        "moved: 512.00 MiB from 192.0.2.1:4444 to file:copy.mem, plaintext\n"));
    CHECK(to_summary(report).find("received 128.00 MiB") != std::string::npos);
}

TEST_CASE("the summary of a guest has the downtime with its parts, and the rounds") {
    Report report = guest("send");
    report.expected_downtime = microseconds(11'000);
    report.guest->rate_during = 8.0 * kMiB;
    report.guest->cpu_throttle = 30;
    const std::string text = to_summary(report);
    CHECK(std::count(text.begin(), text.end(), '\n') == 5);
    CHECK(text.starts_with("moved: the guest (workload, 512.00 MiB) from workload:512M to "));
    CHECK(text.find("\ndowntime: 12.3 ms (expected 11.0): last round 9.0, resume 0.3\n") !=
          std::string::npos);
    CHECK(text.find("\nrounds: 5; the last had 1.00 MiB; the guest wrote 8.0 MiB/s, throttled by "
                    "30 %\n") != std::string::npos);
    CHECK(to_summary(guest("recv")).find("\nrounds: 5; the last had 1.00 MiB\n") !=
          std::string::npos);
}

TEST_CASE("the list of a migration that never connected has no figures, which would be zeros") {
    Report report;
    report.side = "send";
    report.status = MigrationStatus::kFailed;
    report.error_desc = "cannot connect";
    report.outcome = Outcome::kFailed;
    CHECK(to_text(report) ==
          "Migration status: failed\nerror: cannot connect\noutcome: failed\nguest owner: none\n"
          "total time: 0 ms\n");
}

}  // namespace
}  // namespace migrate::engine
