// SPDX-License-Identifier: Apache-2.0
#include "engine/report/report.hpp"

#include <nlohmann/json.hpp>

#include "base/config/option_lookup.hpp"
#include "base/version.hpp"
#include "catch.hpp"
#include "engine/report/schemas.hpp"
#include "engine/report/session_report.hpp"

namespace migrate::engine {
namespace {

using nlohmann::json;

Report some_report() {
    Report report;
    report.side = "send";
    report.status = MigrationStatus::kCompleted;
    report.memory = "anon:1M";
    report.total_bytes = 256 * kPageSize;
    report.pages = {100, 50, 106};
    report.total_time = std::chrono::microseconds(3'500'999);
    report.setup_time = std::chrono::microseconds(1'500'999);
    report.settings = {{"verify", std::string("none")},
                       {"multifd-channels", std::uint64_t{2}},
                       {"skip-unpopulated", true}};
    add_channel(report, main_channel_report(1000));
    ChannelCounters counters;
    counters.pages.add({60, 50, 6});
    counters.payload_bytes = 60 * kPageSize;
    counters.packets = 3;
    add_channel(report, channel_report(ChannelId{0}, 60 * kPageSize + 200, counters));
    ChannelCounters other;
    other.pages.add({40, 0, 100});
    other.payload_bytes = 40 * kPageSize;
    add_channel(report, channel_report(ChannelId{1}, 40 * kPageSize + 100, other));
    report.threads = {{"multifdsend_0", 1'500'000}};
    return report;
}

TEST_CASE("a report's figures add up") {
    const Report report = some_report();
    std::uint64_t bytes = 0;
    transport::PageCounts pages;
    for (const ChannelReport& channel : report.channels) {
        bytes += channel.bytes;
        pages += channel.pages;
    }
    CHECK(bytes == report.transferred);
    CHECK(report.multifd_bytes() == report.transferred - 1000);
    CHECK(report.payload_bytes == 100 * kPageSize);
    CHECK(pages == report.pages);
    CHECK(report.remaining_bytes() == 0);
    CHECK(report.pages_per_second() == Approx(75));
    CHECK(report.mbps() == Approx(static_cast<double>(report.transferred) * 8 / 2e6));
}

TEST_CASE("the JSON has QEMU's fields") {
    const Report report = some_report();
    const json document = json::parse(to_json(report));
    CHECK(document.at("side") == "send");
    CHECK(document.at("status") == "completed");
    CHECK(document.at("total-time") == 3500);
    CHECK(document.at("setup-time") == 1500);
    CHECK(document.at("total-time-us") == 3'500'999);
    CHECK(document.at("memory") == "anon:1M");
    CHECK(document.at("settings").dump() ==
          R"({"multifd-channels":2,"skip-unpopulated":true,"verify":"none"})");
    CHECK_FALSE(document.contains("error-desc"));
    CHECK_FALSE(document.contains("peer"));
    CHECK_FALSE(document.contains("digests"));
    const json& ram = document.at("ram");
    CHECK(ram.at("total") == 256 * kPageSize);
    CHECK(ram.at("transferred") == report.transferred);
    CHECK(ram.at("normal") == 100);
    CHECK(ram.at("normal-bytes") == 100 * kPageSize);
    CHECK(ram.at("duplicate") == 50);
    CHECK(ram.at("unpopulated") == 106);
    CHECK(ram.at("page-size") == kPageSize);
    CHECK(ram.at("multifd-bytes") == report.multifd_bytes());
    CHECK(ram.at("payload-bytes").get<std::uint64_t>() +
              ram.at("header-bytes").get<std::uint64_t>() ==
          report.transferred);
    CHECK(ram.contains("mbps"));
    CHECK(ram.at("pages-per-second") == 75);
    CHECK_FALSE(ram.contains("remaining"));
    const json& channels = document.at("channels");
    REQUIRE(channels.size() == 3);
    CHECK(channels[0].at("name") == "main");
    CHECK(channels[1].at("pages") == 116);
    CHECK(channels[1].at("packets") == 3);
    CHECK(document.at("threads").at(0).at("name") == "multifdsend_0");
    CHECK(document.at("threads").at(0).at("run-time") == 1.5);
}

TEST_CASE("the remaining data is shown while the migration runs, and its error when it failed") {
    Report report = some_report();
    report.status = MigrationStatus::kActive;
    report.pages = {100, 50, 6};
    CHECK(json::parse(to_json(report)).at("ram").at("remaining") == 100 * kPageSize);
    CHECK(to_text(report).find("remaining ram: 400 kbytes") != std::string::npos);
    report.status = MigrationStatus::kFailed;
    report.error_desc = "bad \xFF bytes";
    CHECK(json::parse(to_json(report)).contains("error-desc"));
    CHECK(to_text(report).find("error: bad") != std::string::npos);
}

TEST_CASE("with a guest the remaining data is the rest of the round, or what the next one has") {
    Report report = some_report();
    report.status = MigrationStatus::kActive;
    report.guest.emplace();
    report.pages = {};
    CHECK(report.remaining_bytes() == 256 * kPageSize);
    report.round = 1;
    report.planned_pages = report.round_pages = 256;
    report.pages = {200, 0, 6};
    CHECK(report.remaining_bytes() == 50 * kPageSize);
    report.pages = {250, 0, 6};
    report.dirty_pages = 80;  // collected after the round
    CHECK(report.remaining_bytes() == 80 * kPageSize);
    report.round = 2;
    report.planned_pages += 80;
    report.round_pages = 80;
    report.dirty_pages = 0;
    CHECK(report.remaining_bytes() == 80 * kPageSize);
    report.pages.normal += 30;
    CHECK(report.remaining_bytes() == 50 * kPageSize);
    CHECK(json::parse(to_json(report)).at("ram").at("remaining") == 50 * kPageSize);
}

TEST_CASE("while a migration runs its rate is the present one, and the time left follows from it") {
    Report report = some_report();
    report.status = MigrationStatus::kActive;
    report.pages = {100, 50, 6};
    report.progress = progress_of(report, {.bytes = 1e6, .pages = 50});
    CHECK(report.mbps() == Approx(8));
    CHECK(report.progress->time_left == Microseconds(2'000'000));
    CHECK(json::parse(to_json(report)).at("time-left") == 2000);
    RoundReport round;
    round.figures.duration = std::chrono::seconds(1);
    round.figures.dirty_pages = 25;
    report.rounds.push_back(round);
    report.progress = progress_of(report, {.bytes = 1e6, .pages = 50});
    CHECK(report.progress->time_left == Microseconds(4'000'000));
    report.progress = progress_of(report, {.bytes = 0, .pages = 0});
    CHECK_FALSE(report.progress->time_left);
    CHECK_FALSE(json::parse(to_json(report)).contains("time-left"));
}

TEST_CASE(
    "the time left includes the pages that the guest has written and that are not collected") {
    Report report = some_report();
    report.status = MigrationStatus::kActive;
    report.guest.emplace();
    report.round = 1;
    report.planned_pages = report.round_pages = 256;
    report.pages = {100, 50, 6};
    const auto time_left = [&report] {
        return progress_of(report, {.bytes = 1e6, .pages = 50}).time_left;
    };
    CHECK(time_left() == Microseconds(2'000'000));
    // The guest's own rate, before a round has counted its pages.
    report.dirty_rate = 25;
    CHECK(time_left() == Microseconds(4'000'000));
    report.uncollected = std::chrono::seconds(3);
    CHECK(time_left() == Microseconds(7'000'000));
    // It may write the same pages again and again, so the first round says nothing about others.
    report.dirty_rate = 50;
    CHECK(time_left() == Microseconds(2'000'000));
    report.round = 2;
    CHECK_FALSE(time_left());
    report.dirty_rate = 0;
    RoundReport round;
    round.figures.duration = std::chrono::seconds(1);
    round.figures.dirty_pages = 25;
    report.rounds.push_back(round);
    CHECK(time_left() == Microseconds(7'000'000));
}

TEST_CASE("the time left ends when the rest fits the downtime limit and no extra round pays") {
    Report report = some_report();
    report.status = MigrationStatus::kActive;
    report.guest.emplace();
    report.round = 2;
    report.planned_pages = report.round_pages = 1256;
    report.pages = {250, 0, 6};
    RoundReport round;
    round.figures.duration = std::chrono::seconds(1);
    round.figures.dirty_pages = 60;
    // 1000 pages a second in the last round, so 80 of them fit.
    round.decision.bandwidth = 1000 * kPageSize;
    round.decision.expected_downtime = std::chrono::milliseconds(50);
    round.decision.downtime_limit = std::chrono::milliseconds(100);
    report.rounds.push_back(round);
    const auto time_left = [&report] {
        return progress_of(report, {.bytes = 1e6, .pages = 100}).time_left;
    };
    // 1000 pages take 10 s, the 600 written meanwhile 6 s, and so on until 78 are left.
    CHECK(*time_left() / Microseconds(1000) == 23'056);
    // A guest that writes less gets further rounds, each of which halves the rest.
    report.rounds = {};
    round.figures.dirty_pages = 50;
    report.rounds.push_back(round);
    CHECK(*time_left() > Microseconds(19'900'000));
    CHECK(*time_left() <= Microseconds(20'000'000));
    // A guest that writes too fast ends there only if it fits at once.
    report.rounds = {};
    round.figures.dirty_pages = 100;
    report.rounds.push_back(round);
    CHECK_FALSE(time_left());
    report.planned_pages = 306;
    CHECK(time_left() == Microseconds(500'000));
}

TEST_CASE("a migration that was never active has no rates") {
    Report report = some_report();
    report.total_time = report.setup_time;
    CHECK(report.mbps() == 0);
    CHECK(report.pages_per_second() == 0);
    CHECK(json::accept(to_json(Report{})));
}

TEST_CASE("times that have not come are counted up to now, or left out") {
    Report report;
    fill_times(report, {});
    CHECK(report.total_time.count() == 0);
    const auto start = std::chrono::steady_clock::now();
    using std::chrono::milliseconds;
    SessionFigures figures;
    figures.started = start;
    figures.active = start + milliseconds(10);
    figures.ended = start + milliseconds(25);
    fill_times(report, figures);
    CHECK(report.total_time == milliseconds(25));
    CHECK(report.setup_time == milliseconds(10));
    figures.active = {};
    fill_times(report, figures);
    CHECK(report.setup_time == report.total_time);
}

TEST_CASE("a report names its format, its program, its hosts, its session and its times") {
    Report report = some_report();
    json document = json::parse(to_json(report));
    CHECK(document.at("format") == kStatisticsFormat);
    CHECK(document.at("version") == kVersion);
    for (const char* key : {"host", "peer-host", "session-id", "began", "ended"}) {
        CHECK_FALSE(document.contains(key));
    }
    report.host = "here";
    report.peer_host = "there";
    report.session_id = "0011223344556677";
    report.began = std::chrono::system_clock::time_point(std::chrono::milliseconds(1'500));
    report.ended = report.began + std::chrono::hours(24);
    document = json::parse(to_json(report));
    CHECK(document.at("host") == "here");
    CHECK(document.at("peer-host") == "there");
    CHECK(document.at("session-id") == "0011223344556677");
    CHECK(document.at("began") == "1970-01-01T00:00:01.500Z");
    CHECK(document.at("ended") == "1970-01-02T00:00:01.500Z");
}

TEST_CASE("the schema of the statistics has every option with its type") {
    const json schema = json::parse(statistics_schema());
    const json& report = schema.at("$defs").at("report");
    CHECK(report.at("required").size() < report.at("properties").size());
    CHECK(report.at("additionalProperties") == false);
    const json& settings = report.at("properties").at("settings").at("properties");
    CHECK(settings.size() == kOptionCount);
    CHECK(settings.at("auto-converge").at("type") == "boolean");
    CHECK(settings.at("multifd-packet-size").at("type") == "integer");
    CHECK(settings.at("multifd-channels").at("anyOf").at(0).at("maximum") == kMaxChannels);
    CHECK(settings.at("multifd-channels").at("anyOf").at(1).at("enum") == json::array({"auto"}));
    CHECK(settings.at("verify").at("enum") == json::array({"none", "digest"}));
    CHECK(settings.at("source").at("type") == "string");
}

TEST_CASE("a report says how it ended in a word, and who has the guest") {
    Report report = some_report();
    report.status = MigrationStatus::kActive;
    report.guest_owner = GuestOwner::kSource;
    json document = json::parse(to_json(report));
    CHECK_FALSE(document.contains("outcome"));
    CHECK(document.at("guest-owner") == "source");
    report.status = MigrationStatus::kFailed;
    report.outcome = Outcome::kOwnerUnknown;
    report.error_desc = "no answer";
    report.guest_owner = GuestOwner::kUnknown;
    document = json::parse(to_json(report));
    CHECK(document.at("status") == "failed");
    CHECK(document.at("outcome") == "owner-unknown");
    CHECK(document.at("guest-owner") == "unknown");
    CHECK(document.at("error-desc") == "no answer");
    CHECK(to_text(report).find("outcome: owner-unknown\nguest owner: unknown\n") !=
          std::string::npos);
}

}  // namespace
}  // namespace migrate::engine
