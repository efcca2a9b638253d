// SPDX-License-Identifier: Apache-2.0
#include "cli/qmp_commands.hpp"

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "qmp/dispatcher.hpp"

namespace migrate::cli {
namespace {

using qmp::Json;

Settings settings_of(Side side) {
    Settings settings(side);
    const bool sends = side == Side::kSend;
    REQUIRE(settings.set(sends ? "connect" : "listen", "127.0.0.1:4444"));
    REQUIRE(settings.set(sends ? "source" : "sink", sends ? "workload:64M" : "anon:"));
    return settings;
}

// A client that has negotiated, and the session that its commands come to.
class Steered {
  public:
    explicit Steered(Side side = Side::kSend) : Steered(settings_of(side)) {}
    explicit Steered(const Settings& settings) {
        QmpTarget target{.report = [this] { return report; },
                         .cancel = [this] { ++cancelled; },
                         .continue_switchover = {},
                         .change = {}};
        if (settings.side() == Side::kSend) {
            target.continue_switchover = [this] { return continuing; };
            target.change = [this](const Settings& to) { changes.push_back(to); };
        }
        report.side = settings.side() == Side::kSend ? "send" : "recv";
        auto made = qmp::Dispatcher::create(qmp_commands(std::move(target), settings));
        REQUIRE(made);
        dispatcher_.emplace(*std::move(made));
        session_.negotiated = true;
    }
    Steered(const Steered&) = delete;
    Steered& operator=(const Steered&) = delete;

    Json answer(const char* command, const char* arguments = "{}") {
        const Json request{{"execute", command}, {"arguments", Json::parse(arguments)}};
        return dispatcher_->answer(request, session_);
    }
    // Returns the result of the command, which must not fail.
    Json execute(const char* command, const char* arguments = "{}") {
        const Json said = answer(command, arguments);
        INFO(said.dump());
        REQUIRE(said.contains("return"));
        return said["return"];
    }
    // Why the command is refused, as "CLASS: reason".
    std::string refusal(const char* command, const char* arguments = "{}") {
        const Json said = answer(command, arguments);
        INFO(said.dump());
        REQUIRE(said.contains("error"));
        return said["error"]["class"].get<std::string>() + ": " +
               said["error"]["desc"].get<std::string>();
    }

    engine::Report report;
    Status continuing;  // the session's answer to migrate-continue
    int cancelled = 0;
    std::vector<Settings> changes;

  private:
    std::optional<qmp::Dispatcher> dispatcher_;
    qmp::Session session_;
};

bool is_generic(const std::string& refusal, std::string_view part) {
    INFO(refusal);
    return refusal.rfind("GenericError: ", 0) == 0 && refusal.find(part) != std::string::npos;
}

engine::Report active_report() {
    engine::Report report;
    report.side = "send";
    report.status = engine::MigrationStatus::kActive;
    report.total_bytes = 1000 * kPageSize;
    report.pages = {600, 300, 100};
    report.total_time = std::chrono::microseconds(3'500'999);
    report.setup_time = std::chrono::microseconds(1'500'999);
    engine::RoundReport round;
    round.figures.pages = 1000;
    round.figures.duration = std::chrono::seconds(2);
    round.figures.dirty_pages = 40;
    report.rounds.push_back(round);
    report.round = 1;
    report.planned_pages = report.round_pages = 1000;
    report.dirty_pages = 40;
    report.expected_downtime = std::chrono::microseconds(123'456);
    report.guest.emplace();
    report.guest->state = "running";
    report.guest->cpu_throttle = 30;
    return report;
}

}  // namespace

TEST_CASE("query-migrate is empty before there is a migration") {
    Steered steered;
    CHECK(steered.execute("query-migrate") == Json::object());
}

TEST_CASE("query-migrate has QEMU's names and units") {
    Steered steered;
    steered.report = active_report();
    const Json reply = steered.execute("query-migrate");
    CHECK(reply["status"] == "active");
    CHECK(reply["total-time"] == 3500);
    CHECK(reply["setup-time"] == 1500);
    CHECK(reply["expected-downtime"] == 123);
    CHECK(reply["cpu-throttle-percentage"] == 30);
    const Json& ram = reply["ram"];
    CHECK(ram["total"] == 1000 * kPageSize);
    CHECK(ram["remaining"] == 40 * kPageSize);
    CHECK(ram["normal"] == 600);
    CHECK(ram["normal-bytes"] == 600 * kPageSize);
    CHECK(ram["duplicate"] == 300);
    CHECK(ram["page-size"] == kPageSize);
    CHECK(ram["dirty-sync-count"] == 1);
    CHECK(ram["dirty-pages-rate"] == 20);
    for (const char* key : {"transferred", "mbps", "multifd-bytes", "pages-per-second"}) {
        INFO(key);
        CHECK(ram[key].is_number());
    }
    CHECK_FALSE(reply.contains("downtime"));

    steered.report.status = engine::MigrationStatus::kCompleted;
    steered.report.downtime.total = std::chrono::microseconds(87'654);
    const Json last = steered.execute("query-migrate");
    CHECK(last["status"] == "completed");
    CHECK(last["downtime"] == 87);
    CHECK_FALSE(last.contains("expected-downtime"));
    CHECK_FALSE(last["ram"].contains("remaining"));
}

TEST_CASE("query-migrate says why a migration failed") {
    Steered steered;
    steered.report.status = engine::MigrationStatus::kFailed;
    steered.report.error_desc = "the peer has been silent";
    const Json reply = steered.execute("query-migrate");
    CHECK(reply["status"] == "failed");
    CHECK(reply["error-desc"] == "the peer has been silent");
}

TEST_CASE("query-status is the guest's state, and without a guest nothing runs") {
    Steered sender;
    CHECK(sender.execute("query-status") == Json({{"status", "paused"}, {"running", false}}));
    Steered receiver(Side::kRecv);
    CHECK(receiver.execute("query-status") == Json({{"status", "inmigrate"}, {"running", false}}));
    for (const char* state : {"running", "finish-migrate", "postmigrate", "paused"}) {
        sender.report.guest.emplace();
        sender.report.guest->state = state;
        const Json reply = sender.execute("query-status");
        CHECK(reply["status"] == state);
        CHECK(reply["running"] == (std::string_view(state) == "running"));
    }
}

TEST_CASE("query-migrate-parameters gives numbers in QEMU's units") {
    Settings settings = settings_of(Side::kSend);
    REQUIRE(settings.set("max-bandwidth", "10M/s"));
    REQUIRE(settings.set("downtime-limit", "1s"));
    REQUIRE(settings.set("multifd-compression", "zstd"));
    Steered steered(settings);
    const Json reply = steered.execute("query-migrate-parameters");
    CHECK(reply["max-bandwidth"] == 10 * kMiB);
    CHECK(reply["avail-switchover-bandwidth"] == 0);
    CHECK(reply["downtime-limit"] == 1000);
    CHECK(reply["multifd-channels"] == "auto");
    CHECK(reply["multifd-compression"] == "zstd");
    CHECK(reply["multifd-zstd-level"] == 1);
    CHECK(reply["cpu-throttle-initial"] == 20);
    CHECK(reply["cpu-throttle-increment"] == 10);
    CHECK(reply["max-cpu-throttle"] == 99);
    CHECK(reply["throttle-trigger-threshold"] == 50);
    CHECK(reply["zero-page-detection"] == "multifd");
    CHECK(reply["multifd-normal-page-ratio"] == "off");
    CHECK(reply["run-for"] == 1000);
    CHECK(reply["auto-converge"] == false);
    REQUIRE(settings.set("run-for", "forever"));
    CHECK(Steered(settings).execute("query-migrate-parameters")["run-for"] == "forever");
}

TEST_CASE("queries and migrate_cancel take no arguments") {
    Steered steered;
    for (const char* command :
         {"query-migrate", "query-status", "query-migrate-parameters", "query-migrate-capabilities",
          "migrate_cancel", "query-commands", "query-version"}) {
        INFO(command);
        CHECK(is_generic(steered.refusal(command, R"({"x": 1})"), "arameter 'x' is unexpected"));
    }
    CHECK(steered.cancelled == 0);
}

TEST_CASE("migrate-set-parameters changes what may change, and the session is told") {
    Steered steered;
    const Json reply = steered.execute(
        "migrate-set-parameters",
        R"({"max-bandwidth": 1048576, "downtime-limit": 500, "auto-converge": true})");
    CHECK(reply == Json::object());
    REQUIRE(steered.changes.size() == 1);
    CHECK(steered.changes[0].get<"max-bandwidth">() == kMiB);
    CHECK(steered.changes[0].get<"downtime-limit">() == 500);
    CHECK(steered.changes[0].get<"auto-converge">());
    const Json parameters = steered.execute("query-migrate-parameters");
    CHECK(parameters["max-bandwidth"] == kMiB);
    CHECK(parameters["downtime-limit"] == 500);
    CHECK(parameters["auto-converge"] == true);
}

TEST_CASE("migrate-set-parameters refuses a bad value by name, and then changes nothing") {
    Steered steered;
    const std::pair<const char*, const char*> bad[] = {
        {R"({"downtime-limit": 500, "multifd-chanels": 3})", "did you mean 'multifd-channels'"},
        {R"({"downtime-limit": 500, "multifd-channels": 3})", "while a migration runs"},
        {R"({"downtime-limit": 500, "listen": "1.2.3.4:5"})", "belongs to 'migrate recv'"},
        {R"({"downtime-limit": 500, "max-bandwidth": -1})", "max-bandwidth"},
        {R"({"downtime-limit": 500, "max-bandwidth": 1.5})", "max-bandwidth"},
        {R"({"downtime-limit": 500, "max-bandwidth": null})", "max-bandwidth"},
        {R"({"downtime-limit": 500, "max-bandwidth": [1]})", "max-bandwidth"},
        {R"({"downtime-limit": 500, "max-bandwidth": 18446744073709551616})", "max-bandwidth"},
        {R"({"downtime-limit": 500, "max-cpu-throttle": 100})", "max-cpu-throttle"},
        {R"({"downtime-limit": 500, "auto-converge": 1})", "auto-converge"},
        {R"({"downtime-limit": 500, "on-deadline": "never"})", "on-deadline"},
        {R"({"downtime-limit": 2000001})", "downtime-limit"}};
    for (const auto& [arguments, reason] : bad) {
        INFO(arguments);
        CHECK(is_generic(steered.refusal("migrate-set-parameters", arguments), reason));
    }
    CHECK(steered.changes.empty());
    CHECK(steered.execute("query-migrate-parameters")["downtime-limit"] == 300);
}

TEST_CASE("migrate_cancel cancels, and may come again") {
    Steered steered;
    CHECK(steered.execute("migrate_cancel") == Json::object());
    CHECK(steered.execute("migrate_cancel") == Json::object());
    CHECK(steered.cancelled == 2);
}

TEST_CASE("migrate-continue names the state it continues from") {
    Steered steered;
    for (const char* arguments : {"{}", R"({"state": "device"})", R"({"state": 3})",
                                  R"({"state": "pre-switchover", "x": 1})"}) {
        INFO(arguments);
        CHECK(is_generic(steered.refusal("migrate-continue", arguments), "pre-switchover"));
    }
    CHECK(steered.execute("migrate-continue", R"({"state": "pre-switchover"})") == Json::object());
    steered.continuing = Error("the migration does not wait for migrate-continue");
    CHECK(is_generic(steered.refusal("migrate-continue", R"({"state": "pre-switchover"})"),
                     "does not wait"));
}

TEST_CASE("query-migrate-capabilities lists QEMU's names and their states") {
    Settings settings = settings_of(Side::kSend);
    REQUIRE(settings.set("switchover-ack", "on"));
    Steered steered(settings);
    const Json reply = steered.execute("query-migrate-capabilities");
    std::map<std::string, bool> states;
    for (const Json& entry : reply) {
        CHECK(entry.size() == 2);
        states[entry["capability"].get<std::string>()] = entry["state"].get<bool>();
    }
    CHECK(states == std::map<std::string, bool>{{"auto-converge", false},
                                                {"events", true},
                                                {"return-path", true},
                                                {"pause-before-switchover", false},
                                                {"multifd", true},
                                                {"switchover-ack", true},
                                                {"postcopy-ram", false}});
}

TEST_CASE("migrate-set-capabilities changes what may change, and accepts what is so already") {
    Steered steered;
    CHECK(steered.execute("migrate-set-capabilities",
                          R"({"capabilities": [{"capability": "multifd", "state": true},
                                               {"capability": "switchover-ack", "state": false},
                                               {"capability": "auto-converge", "state": true}]})") ==
          Json::object());
    REQUIRE(steered.changes.size() == 1);
    CHECK(steered.changes[0].get<"auto-converge">());
    CHECK(steered.execute("query-migrate-capabilities")[0] ==
          Json({{"capability", "auto-converge"}, {"state", true}}));
    CHECK(steered.execute("query-migrate-parameters")["auto-converge"] == true);
}

TEST_CASE("migrate-set-capabilities says why one cannot change, and then changes none") {
    Steered steered;
    const std::string first =
        R"({"capabilities": [{"capability": "auto-converge", "state": true}, )";
    const std::pair<const char*, const char*> bad[] = {
        {R"({"capability": "multifd", "state": false})", "part of every migration"},
        {R"({"capability": "pause-before-switchover", "state": true})",
         "the option --pause-before-switchover"},
        {R"({"capability": "xbzrle", "state": true})", "does not accept value 'xbzrle'"},
        {R"({"capability": "multifd"})", "'state': BOOL"},
        {R"({"capability": "multifd", "state": "on"})", "'state': BOOL"},
        {R"({"capability": 1, "state": true})", "'state': BOOL"},
        {R"({"capability": "multifd", "state": true, "x": 1})", "'state': BOOL"},
        {"3", "'state': BOOL"}};
    for (const auto& [entry, reason] : bad) {
        INFO(entry);
        const std::string arguments = first + entry + "]}";
        CHECK(is_generic(steered.refusal("migrate-set-capabilities", arguments.c_str()), reason));
    }
    for (const char* arguments :
         {"{}", R"({"capabilities": 1})", R"({"capabilities": [], "x": 1})"}) {
        INFO(arguments);
        CHECK(is_generic(steered.refusal("migrate-set-capabilities", arguments), "a list"));
    }
    CHECK(steered.changes.empty());
    CHECK(steered.execute("query-migrate-parameters")["auto-converge"] == false);
}

TEST_CASE("a receiver has no command that steers a sender") {
    Steered receiver(Side::kRecv);
    for (const char* command :
         {"migrate-set-parameters", "migrate-set-capabilities", "migrate-continue"}) {
        CHECK(receiver.refusal(command).rfind("CommandNotFound: ", 0) == 0);
    }
    receiver.execute("migrate_cancel");
    CHECK(receiver.cancelled == 1);
    const Json parameters = receiver.execute("query-migrate-parameters");
    CHECK(parameters["io-timeout"] == 30'000);
    CHECK_FALSE(parameters.contains("connect"));
    CHECK(receiver.execute("query-migrate-capabilities").size() == 7);
}

}  // namespace migrate::cli
