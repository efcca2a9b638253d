// SPDX-License-Identifier: Apache-2.0
// A migration followed and steered through its QMP socket.
#include <memory>
#include <string>

#include "catch.hpp"
#include "e2e/live_run.hpp"
#include "qmp/client.hpp"

namespace migrate::e2e {
namespace {

using std::chrono::milliseconds;

// A client of the socket, past negotiation.
std::unique_ptr<qmp::Client> connect_qmp(const std::string& path) {
    auto client = qmp::Client::connect("unix:" + path, milliseconds(20'000), {});
    REQUIRE(client);
    return std::move(*client);
}

TEST_CASE("a QMP client follows, changes and releases a migration", "[live]") {
    const TemporaryFolder folder;
    const std::string path = folder / "qmp";
    LiveRun run(
        folder, "workload:64M,rate=20",
        {"--qmp", "unix:" + path, "--pause-before-switchover", "on", "--max-bandwidth", "20M/s"});
    REQUIRE(run.sender.await_text("connected to"));
    const auto client = connect_qmp(path);
    const auto execute = [&](const char* command, const qmp::Json& arguments) {
        return client->execute(command, arguments, milliseconds(20'000), {});
    };
    const qmp::Json seen = *execute("query-migrate", qmp::Json::object());
    CHECK((seen["status"] == "setup" || seen["status"] == "active"));
    CHECK((*execute("query-status", qmp::Json::object()))["running"] == true);
    CHECK_FALSE(execute("migrate-set-parameters", {{"multifd-channels", 3}}));
    REQUIRE(execute("migrate-set-parameters", {{"max-bandwidth", 0}, {"downtime-limit", 20000}}));
    const auto parameters = execute("query-migrate-parameters", qmp::Json::object());
    REQUIRE(parameters);
    CHECK((*parameters)["downtime-limit"] == 20000);
    CHECK((*parameters)["max-bandwidth"] == 0);
    bool waits = false;
    while (!waits) {
        const auto event = client->wait_event("MIGRATION", milliseconds(20'000), {});
        REQUIRE(event);
        waits = (*event)["data"]["status"] == "pre-switchover";
    }
    CHECK((*execute("query-status", qmp::Json::object()))["status"] == "finish-migrate");
    CHECK_FALSE(execute("migrate-continue", qmp::Json::object()));
    REQUIRE(execute("migrate-continue", {{"state", "pre-switchover"}}));
    check_arrived(run);
}

TEST_CASE("a QMP client cancels a migration, and the guest stays", "[live]") {
    const TemporaryFolder folder;
    const std::string path = folder / "qmp";
    LiveRun run(folder, "workload:64M,rate=20",
                {"--qmp", "unix:" + path, "--max-bandwidth", "5M/s"});
    REQUIRE(run.sender.await_text("connected to"));
    const auto client = connect_qmp(path);
    REQUIRE(client->execute("migrate_cancel", qmp::Json::object(), milliseconds(20'000), {}));
    CHECK(run.sender.wait() == 4);
    CHECK(run.receiver->wait() == 4);
    CHECK(guest_went_on(run.sender));
    CHECK(run.sent()["status"] == "cancelled");
}

// A client that is not ours: it knows QMP from its specification and nothing of this program.
Process follow(const std::string& path, std::vector<std::string> options) {
    options.insert(options.begin(), {path, "--interval", "0.05"});
    return {MIGRATE_SOURCE_DIR "/scripts/qmp-follow", options};
}

TEST_CASE("scripts/qmp-follow follows a migration to its end", "[live]") {
    const TemporaryFolder folder;
    const std::string path = folder / "qmp";
    // So slow that it waits for the script, which lifts the limit.
    LiveRun run(folder, "workload:32M,rate=10",
                {"--qmp", "unix:" + path, "--max-bandwidth", "2M/s"});
    Process script = follow(path, {"--set", "max-bandwidth=62914560"});
    check_arrived(run);
    INFO(script.both());
    CHECK(script.wait() == 0);
    for (const char* text : {"set max-bandwidth=62914560\n", "guest running  migration active",
                             "event MIGRATION_PASS pass=2\n", "event STOP\n",
                             "event MIGRATION status=completed\n", "migration completed\n"}) {
        INFO(text);
        CHECK(script.out().find(text) != std::string::npos);
    }
}

TEST_CASE("scripts/qmp-follow cancels a migration after a round, and the guest stays", "[live]") {
    const TemporaryFolder folder;
    const std::string path = folder / "qmp";
    LiveRun run(folder, "workload:32M,rate=60",
                {"--qmp", "unix:" + path, "--max-bandwidth", "20M/s",
                 "--avail-switchover-bandwidth", "20M/s", "--downtime-limit", "10ms"});
    Process script = follow(path, {"--cancel-after-round", "1"});
    CHECK(run.sender.wait() == 4);
    CHECK(run.receiver->wait() == 4);
    INFO(run.sender.both() << run.receiver->both() << script.both());
    CHECK(guest_went_on(run.sender));
    CHECK_FALSE(guest_went_on(run.receiver.process()));
    CHECK(run.sent()["status"] == "cancelled");
    CHECK(script.wait() == 1);
    for (const char* text : {"  round 1  ", "MiB/s  expected downtime ", "  throttle 0 %",
                             "migrate_cancel sent\n", "migration cancelled\n"}) {
        INFO(text);
        CHECK(script.out().find(text) != std::string::npos);
    }
}

TEST_CASE("scripts/qmp-follow says what a server refuses", "[live]") {
    const TemporaryFolder folder;
    const std::string path = folder / "qmp";
    LiveRun run(folder, "workload:16M,rate=1",
                {"--qmp", "unix:" + path, "--max-bandwidth", "5M/s"});
    Process script = follow(path, {"--set", "multifd-channels=3"});
    CHECK(script.wait() == 2);
    CHECK(script.err().find("multifd-channels") != std::string::npos);
    check_arrived(run);
}

}  // namespace
}  // namespace migrate::e2e
