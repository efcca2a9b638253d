// SPDX-License-Identifier: Apache-2.0
#include "cli/monitoring/running_migration.hpp"

#include <unistd.h>

#include <nlohmann/json.hpp>
#include <string>

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::cli {
namespace {

engine::Report half_sent() {
    engine::Report report;
    report.side = "send";
    report.status = engine::MigrationStatus::kActive;
    report.peer = "192.0.2.7:4444";
    report.total_bytes = 100 * kPageSize;
    report.pages.normal = 43;
    report.transferred = 1234;
    report.total_time = std::chrono::seconds(3);
    report.progress = engine::ProgressReport{.speed = {.bytes = 2991.0 * kMiB, .pages = 1},
                                             .time_left = std::chrono::seconds(7)};
    return report;
}

Settings sender() {
    Settings settings(Side::kSend);
    must(settings.set("connect", "host-b:4444"));
    must(settings.set("source", "qemu:/run/vm.qmp"));
    must(settings.set("guest-name", "web1"));
    return settings;
}

TEST_CASE("a line has what runs, how far it is and where it goes") {
    const std::string pid = std::to_string(::getpid());
    CHECK(to_line(running_here(sender(), half_sent(), "")) ==
          pid +
              "  send  web1  active, 43 %, 2991 MiB/s, 0:07 left  qemu:/run/vm.qmp  to "
              "192.0.2.7:4444\n");
    Settings receiver(Side::kRecv);
    must(receiver.set("listen", "0.0.0.0:4444"));
    must(receiver.set("sink", "anon:"));
    CHECK(to_line(running_here(receiver, {}, "")) ==
          pid + "  recv  waiting  anon:  on 0.0.0.0:4444\n");
}

TEST_CASE("a running migration is the same after it was written and read") {
    const RunningMigration running = running_here(sender(), half_sent(), "127.0.0.1:9464");
    const std::string text = to_json(running);
    const auto read = parse_running(text + "   \n");
    REQUIRE(read);
    CHECK(to_json(*read) == text);
    const auto json = nlohmann::json::parse(text);
    CHECK(json.at("pid") == ::getpid());
    CHECK(json.at("remaining") == 57 * kPageSize);
    CHECK(json.at("bytes-per-second") == 2991 * kMiB);
    CHECK(json.at("time-left") == 7000);
    CHECK(json.at("metrics") == "127.0.0.1:9464");
}

TEST_CASE("a text that is no running migration is ignored, at whatever byte it ends") {
    const std::string text = to_json(running_here(sender(), half_sent(), ""));
    for (std::size_t size = 0; size < text.size(); ++size) {
        CHECK_FALSE(parse_running(text.substr(0, size)));
    }
    for (const char* wrong : {"[]", "1", "{}", R"({"pid":1})", R"({"pid":0,"side":"send"})",
                              R"({"pid":"1","side":"send"})", R"({"pid":1,"side":"both"})"}) {
        CHECK_FALSE(parse_running(wrong));
    }
    const auto odd = parse_running(R"({"pid":1,"side":"send","total":"x","status":7,"qmp":{}})");
    REQUIRE(odd);
    CHECK(odd->total == 0);
    CHECK(odd->status.empty());
}

TEST_CASE("texts of a process cannot control the terminal, and fit an entry") {
    RunningMigration running;
    running.pid = 1;
    running.side = "send";
    running.memory = "file:\x1b[2J\n" + std::string(5000, '"');
    running.guest = std::string(5000, '\x01');
    running.address = running.peer = running.progress = running.metrics = std::string(5000, '\\');
    running.qmp = std::string(5000, '\xff');
    const std::string line = to_line(running);
    CHECK(std::count(line.begin(), line.end(), '\n') == 1);
    CHECK(line.find('\x1b') == std::string::npos);
    const std::string text = to_json(running);
    CHECK(text.size() < kMostEntryBytes);
    CHECK(parse_running(text));
}

}  // namespace
}  // namespace migrate::cli
