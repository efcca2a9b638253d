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
    REQUIRE(execute("migrate-set-parameters", {{"max-bandwidth", 0}, {"downtime-limit", 500}}));
    const auto parameters = execute("query-migrate-parameters", qmp::Json::object());
    REQUIRE(parameters);
    CHECK((*parameters)["downtime-limit"] == 500);
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
    CHECK(run.sender.wait() == 1);
    CHECK(run.receiver->wait() == 1);
    CHECK(guest_went_on(run.sender));
    CHECK(run.sent()["status"] == "cancelled");
}

}  // namespace
}  // namespace migrate::e2e
