// A running guest moved between two processes: it goes on at exactly one side, with every write.
#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "catch.hpp"
#include "e2e/process.hpp"
#include "e2e/transfer.hpp"
#include "memory/temporary_folder.hpp"
#include "qmp/client.hpp"

namespace migrate::e2e {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

// Both sides' processes and what they leave in `folder`.
struct LiveRun {
    LiveRun(const TemporaryFolder& in, const std::string& source,
            const std::vector<std::string>& options = {},
            const std::vector<std::string>& recv_options = {})
        : folder(in),
          receiver([&] {
              std::vector<std::string> arguments{"--stats", (folder / "recv.json"), "--run-for",
                                                 "50ms"};
              if (recv_options.empty()) arguments.insert(arguments.end(), {"--sink", "anon:"});
              arguments.insert(arguments.end(), recv_options.begin(), recv_options.end());
              return arguments;
          }()),
          sender([&] {
              std::vector<std::string> all{"--stats", (folder / "send.json"), "--run-for",
                                           "50ms",    "--multifd-channels",   "4"};
              all.insert(all.end(), options.begin(), options.end());
              return send_arguments(receiver, source, all);
          }()) {}

    json sent() const { return read_stats((folder / "send.json")); }
    json received() const { return read_stats((folder / "recv.json")); }

    const TemporaryFolder& folder;
    Receiver receiver;
    Process sender;
};

// MIGRATE_TEST_KILLS sets how often, for a long run by hand.
int kill_turns() {
    const char* turns = std::getenv("MIGRATE_TEST_KILLS");
    return turns == nullptr ? 10 : std::atoi(turns);
}

// Whether the guest went on at this side, and if so that its memory was what it must be.
bool guest_went_on(const Process& side) {
    const bool ran = side.out().find("guest: ran on for") != std::string::npos;
    if (ran) CHECK(side.out().find("memory check: passed") != std::string::npos);
    return ran;
}

void check_arrived(LiveRun& run) {
    INFO(run.sender.both() << run.receiver->both());
    REQUIRE(run.sender.wait() == 0);
    REQUIRE(run.receiver->wait() == 0);
    CHECK_FALSE(guest_went_on(run.sender));
    CHECK(guest_went_on(run.receiver.process()));
    const json sent = run.sent();
    const json received = run.received();
    CHECK(sent["guest"]["state"] == "postmigrate");
    CHECK(received["guest"]["check"] == "passed");
    check_accounting({sent, received});
    const json& split = sent["downtime-split-us"];
    std::int64_t sum = 0;
    for (const auto& [name, value] : split.items()) sum += value.get<std::int64_t>();
    // Each part is cut to whole microseconds, or by the other side's clock rounded up.
    CHECK(std::abs(sum - sent["downtime-us"].get<std::int64_t>()) <= 16);
    std::uint64_t planned = 0;
    for (const json& round : sent["rounds"]) planned += round["pages"].get<std::uint64_t>();
    CHECK(planned == sent["ram"]["planned-pages"]);
}

TEST_CASE("a guest goes on at the receiver with every write, whatever its pattern and memory",
          "[live]") {
    const TemporaryFolder folder;
    for (const char* pattern : {"sequential", "uniform", "hot-spot"}) {
        for (const char* memory : {"anon", "memfd"}) {
            for (const char* tracker : {"auto", "hash"}) {
                INFO(pattern << " " << memory << " " << tracker);
                LiveRun run(
                    folder,
                    std::string("workload:48M,rate=100,threads=2,working-set=32M,pattern=") +
                        pattern + ",memory=" + memory,
                    {"--dirty-tracker", tracker, "--verify", "digest"});
                check_arrived(run);
            }
        }
    }
}

TEST_CASE("a guest arrives through compression, the legacy scan and with acknowledgement",
          "[live]") {
    const TemporaryFolder folder;
    const std::vector<std::vector<std::string>> variants{
        {"--multifd-compression", "lz4"},
        {"--multifd-compression", "zstd", "--dirty-tracker", "hash"},
        {"--zero-page-detection", "legacy"},
        {"--zero-page-detection", "none", "--multifd-packet-size", "4K"},
        {"--switchover-ack", "on", "--multifd-normal-page-ratio", "100"}};
    for (const std::vector<std::string>& options : variants) {
        INFO(options[0] << " " << options[1]);
        LiveRun run(folder, "workload:32M,rate=50", options);
        check_arrived(run);
    }
}

TEST_CASE("a guest that dirties faster than the link carries stays, and the reason is said",
          "[live]") {
    const TemporaryFolder folder;
    LiveRun run(folder, "workload:64M,rate=150",
                {"--max-bandwidth", "50M/s", "--deadline", "3s", "--downtime-limit", "50ms"});
    CHECK(run.sender.wait() == 1);
    CHECK(run.receiver->wait() == 1);
    INFO(run.sender.both());
    CHECK(guest_went_on(run.sender));
    CHECK_FALSE(guest_went_on(run.receiver.process()));
    CHECK(run.sender.err().find("the deadline of 3000 ms has passed") != std::string::npos);
    CHECK(run.sender.err().find("MiB/s") != std::string::npos);
    CHECK(run.sent()["guest"]["state"] == "running");
}

TEST_CASE("with auto-converge, or a deadline that switches, the same guest arrives", "[live]") {
    const TemporaryFolder folder;
    const std::vector<std::vector<std::string>> ladders{
        {"--auto-converge", "on", "--cpu-throttle-increment", "40"},
        {"--max-downtime", "20s"},
        {"--deadline", "2s", "--on-deadline", "switch"}};
    for (std::vector<std::string> options : ladders) {
        INFO(options[0]);
        options.insert(options.end(), {"--max-bandwidth", "50M/s", "--downtime-limit", "50ms"});
        LiveRun run(folder, "workload:48M,rate=150", options);
        check_arrived(run);
    }
}

TEST_CASE("a sink that cannot run a guest is refused by name, and the guest stays", "[live]") {
    const TemporaryFolder folder;
    for (const std::string& sink : {std::string("null:"), "file:" + (folder / "image")}) {
        LiveRun run(folder, "workload:16M,rate=10", {}, {"--sink", sink, "--listen-timeout", "5s"});
        CHECK(run.sender.wait() == 1);
        INFO(run.sender.both());
        CHECK(run.sender.err().find("use the sink anon: or memfd:") != std::string::npos);
        CHECK(guest_went_on(run.sender));
        run.receiver->signal(SIGINT);
        run.receiver->wait();
    }
}

TEST_CASE("killing either side at any moment leaves no second guest and no wrong page", "[live]") {
    const TemporaryFolder folder;
    const unsigned seed = std::random_device{}();
    std::mt19937 random(seed);
    unsigned handed_over = 0;
    for (int turn = 0; turn < kill_turns(); ++turn) {
        const bool kills_sender = turn % 2 == 0;
        const milliseconds when(std::uniform_int_distribution<int>(0, 900)(random));
        INFO("seed " << seed << ", turn " << turn << ", after " << when.count() << " ms, kills the "
                     << (kills_sender ? "sender" : "receiver"));
        LiveRun run(folder, "workload:64M,rate=60,warm-up=0", {"--max-bandwidth", "150M/s"});
        Process& victim = kills_sender ? run.sender : run.receiver.process();
        Process& survivor = kills_sender ? run.receiver.process() : run.sender;
        victim.ended_within(when);
        victim.signal(SIGKILL);
        victim.wait();
        if (kills_sender && !survivor.ended_within(milliseconds(3000))) survivor.signal(SIGINT);
        const int code = survivor.wait();
        INFO(run.sender.both() << run.receiver->both());
        CHECK((code == 0 || code == 1));
        if (kills_sender) {
            // Exit code 0 says that the guest is here; then it has to have been checked.
            CHECK(guest_went_on(survivor) == (code == 0));
            continue;
        }
        const bool past = survivor.both().find("was handed over") != std::string::npos ||
                          survivor.out().find("postmigrate") != std::string::npos;
        handed_over += past ? 1 : 0;
        CHECK(guest_went_on(survivor) != past);
    }
    WARN("seed " << seed << ": " << handed_over
                 << " receivers were killed when the guest was theirs");
}

TEST_CASE("interrupting either side at any moment leaves exactly one guest", "[live]") {
    const TemporaryFolder folder;
    const unsigned seed = std::random_device{}();
    std::mt19937 random(seed);
    for (int turn = 0; turn < kill_turns(); ++turn) {
        const bool at_sender = turn % 2 == 0;
        const milliseconds when(std::uniform_int_distribution<int>(0, 700)(random));
        INFO("seed " << seed << ", turn " << turn << ", after " << when.count() << " ms, at the "
                     << (at_sender ? "sender" : "receiver"));
        LiveRun run(folder, "workload:64M,rate=60,warm-up=0", {"--max-bandwidth", "150M/s"});
        // Before it says anything it has no guest, or no session, and may simply end.
        if (!run.sender.await_text("connected to")) continue;
        Process& interrupted = at_sender ? run.sender : run.receiver.process();
        interrupted.ended_within(when);
        interrupted.signal(SIGINT);
        run.sender.wait();
        run.receiver->wait();
        INFO(run.sender.both() << run.receiver->both());
        CHECK(guest_went_on(run.sender) != guest_went_on(run.receiver.process()));
    }
}

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
