// SPDX-License-Identifier: Apache-2.0
// Post-copy: the guest runs at the receiver before its memory is there.
#include <csignal>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "catch.hpp"
#include "e2e/broken_run.hpp"
#include "e2e/live_run.hpp"
#include "e2e/test_image.hpp"
#include "qmp/client.hpp"
#include "tests/support/seed.hpp"

namespace migrate::e2e {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

// Checks the figures of a migration that ended in post-copy and lost no connection in it.
void check_figures(const json& sent, const json& received) {
    const json& there = received.at("postcopy");
    const json& here = sent.at("postcopy");
    const std::uint64_t missing = here.at("missing");
    CHECK(missing != 0);
    CHECK(there.at("missing") == missing);
    // Every page was placed once.
    CHECK(there.at("normal").get<std::uint64_t>() + there.at("zero").get<std::uint64_t>() ==
          missing);
    CHECK(here.at("normal") == there.at("normal"));
    CHECK(here.at("zero") == there.at("zero"));
    CHECK(there.at("dropped") == 0);
    CHECK(received.at("ram").at("postcopy-requests") >= sent.at("ram").at("postcopy-requests"));
    CHECK(sent.at("channels") == received.at("channels"));
    std::uint64_t bytes = 0;
    for (const json& channel : sent.at("channels")) {
        bytes += channel.at("bytes").get<std::uint64_t>();
    }
    CHECK(sent.at("ram").at("transferred") == bytes);
    CHECK(sent.at("ram").at("postcopy-bytes") == sent.at("channels").back().at("bytes"));
    std::uint64_t faults = 0;
    if (received.contains("postcopy-latency-dist")) {
        for (const json& count : received.at("postcopy-latency-dist")) {
            faults += count.get<std::uint64_t>();
        }
    }
    CHECK(faults == received.at("ram").at("postcopy-requests"));
}

// Both sides end well, and every page holds what the guest wrote.
void check_moved(LiveRun& run) {
    const int sent = run.sender.wait();
    const int received = run.receiver->wait();
    INFO(run.sender.both() << run.receiver->both());
    REQUIRE(sent == 0);
    REQUIRE(received == 0);
    CHECK_FALSE(guest_went_on(run.sender));
    CHECK(guest_went_on(run.receiver.process()));
    CHECK(run.sent().at("guest-owner") == "destination");
    CHECK(run.sent().at("status") == "completed");
    CHECK(run.received().at("status") == "completed");
    CHECK(run.sent().at("guest").at("state") == "postmigrate");
}

TEST_CASE("a guest that writes faster than the network carries arrives whole in post-copy",
          "[live]") {
    const TemporaryFolder folder;
    const auto* const sink = GENERATE("anon:", "anon:huge=off", "memfd:");
    const auto* const when = GENERATE("after-round=0", "after-round=1");
    INFO(sink << ' ' << when);
    LiveRun run(folder, "workload:32M,rate=120,threads=2,warm-up=0",
                {"--postcopy", when, "--max-bandwidth", "40M/s", "--avail-switchover-bandwidth",
                 "40M/s", "--max-postcopy-bandwidth", "40M/s"},
                {"--sink", sink});
    check_moved(run);
    INFO(run.sender.both() << run.receiver->both());
    check_figures(run.sent(), run.received());
    CHECK(run.received().at("ram").at("postcopy-requests") != 0);
}

TEST_CASE("zero and untouched pages cost no page on the wire in post-copy", "[live]") {
    const TemporaryFolder folder;
    // 4 of 64 MiB have content.
    LiveRun run(folder, "workload:64M,working-set=4M,rate=5,memory=memfd,warm-up=0",
                {"--postcopy", "after-round=0"}, {"--sink", "memfd:"});
    check_moved(run);
    check_figures(run.sent(), run.received());
    const json postcopy = run.received().at("postcopy");
    CHECK(postcopy.at("missing") == 64 * kMiBytes / 4096);
    CHECK(postcopy.at("normal") == 4 * kMiBytes / 4096);
    CHECK(run.sent().at("ram").at("postcopy-bytes") < 5 * kMiBytes);
}

TEST_CASE("a guest that fits its downtime limit is moved without post-copy", "[live]") {
    const TemporaryFolder folder;
    LiveRun run(folder, "workload:16M,rate=1,warm-up=0",
                {"--postcopy", "on-stall", "--downtime-limit", "2s"});
    check_arrived(run);
    CHECK_FALSE(run.sent().contains("postcopy"));
    CHECK_FALSE(run.received().contains("postcopy"));
}

TEST_CASE("a QMP client starts post-copy and sees its states", "[live]") {
    const TemporaryFolder folder;
    const std::string path = folder / "qmp";
    LiveRun run(folder, "workload:32M,rate=100,warm-up=0",
                {"--qmp", "unix:" + path, "--postcopy", "manual", "--max-bandwidth", "40M/s",
                 "--avail-switchover-bandwidth", "40M/s", "--max-postcopy-bandwidth", "40M/s",
                 "--downtime-limit", "1ms"});
    REQUIRE(run.sender.await_text("connected to"));
    auto connected = qmp::Client::connect("unix:" + path, milliseconds(20'000), {});
    REQUIRE(connected);
    const auto client = *std::move(connected);
    const auto execute = [&](const char* command, const qmp::Json& arguments) {
        return client->execute(command, arguments, milliseconds(20'000), {});
    };
    const auto set = [&](bool state) {
        return execute("migrate-set-capabilities",
                       {{"capabilities", {{{"capability", "postcopy-ram"}, {"state", state}}}}});
    };
    CHECK(set(true));
    CHECK_FALSE(set(false));
    REQUIRE(execute("migrate-start-postcopy", qmp::Json::object()));
    bool active = false;
    while (!active) {
        const auto event = client->wait_event("MIGRATION", milliseconds(20'000), {});
        REQUIRE(event);
        active = (*event)["data"]["status"] == "postcopy-active";
    }
    const auto seen = execute("query-migrate", qmp::Json::object());
    if (seen) {
        CHECK(((*seen)["status"] == "postcopy-active" || (*seen)["status"] == "completed"));
        CHECK((*seen).contains("postcopy"));
    }
    check_moved(run);
    check_figures(run.sent(), run.received());
}

TEST_CASE("QMP does not start post-copy that was not allowed", "[live]") {
    const TemporaryFolder folder;
    const std::string path = folder / "qmp";
    LiveRun run(folder, "workload:16M,rate=1",
                {"--qmp", "unix:" + path, "--max-bandwidth", "10M/s"});
    REQUIRE(run.sender.await_text("connected to"));
    auto client = qmp::Client::connect("unix:" + path, milliseconds(20'000), {});
    REQUIRE(client);
    const auto refused =
        (*client)->execute("migrate-start-postcopy", qmp::Json::object(), milliseconds(20'000), {});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().find("--postcopy") != std::string::npos);
    check_arrived(run);
}

TEST_CASE("a migration that stalls goes on in post-copy", "[live]") {
    const TemporaryFolder folder;
    LiveRun run(
        folder, "workload:16M,rate=120,warm-up=0",
        {"--postcopy", "on-stall", "--max-bandwidth", "40M/s", "--avail-switchover-bandwidth",
         "40M/s", "--max-postcopy-bandwidth", "40M/s", "--downtime-limit", "1ms"});
    check_moved(run);
    check_figures(run.sent(), run.received());
    CHECK(run.sent().at("ram").at("dirty-sync-count") > 1);
}

TEST_CASE("a guest arrives whole whatever connections of post-copy are cut", "[repair][live]") {
    const unsigned seed = test_seed();
    std::mt19937 random(seed);
    const TemporaryFolder folder;
    unsigned cut = 0;
    std::uint64_t interruptions = 0;
    const int turns = fault_turns();
    for (int turn = 0; turn < turns; ++turn) {
        // The main channel is connection 0, and two data channels follow. Then come the pairs of
        // post-copy: one for urgent pages, one for all others.
        std::vector<Cut> cuts;
        for (std::uint64_t pair = 0; pair < any_of(random, 1, 4); ++pair) {
            const std::uint64_t connection = 3 + 2 * pair + any_of(random, 0, 1);
            Cut one{.connection = connection,
                    .by = any_of(random, 0, 1) == 0 ? CutBy::kFin : CutBy::kReset};
            // The urgent connection carries less.
            one.when.own_bytes = any_of(random, 33, connection % 2 == 1 ? 300'000 : 6 * kMiBytes);
            cuts.push_back(one);
        }
        const bool at_once = any_of(random, 0, 1) == 0;
        INFO("seed " << seed << ", turn " << turn << ": " << describe_all(cuts));
        const Broken broken =
            run_broken(folder,
                       {"workload:24M,rate=100,threads=2,warm-up=0",
                        any_of(random, 0, 1) == 0 ? "anon:" : "memfd:",
                        {"--multifd-channels", "2", "--postcopy",
                         at_once ? "after-round=0" : "after-round=1", "--max-bandwidth", "60M/s",
                         "--avail-switchover-bandwidth", "60M/s", "--max-postcopy-bandwidth",
                         "60M/s", "--io-timeout", "2s", "--reconnect-timeout", "20s"}},
                       cuts);
        INFO(broken.output);
        CHECK(broken.received.at("guest").at("check") == "passed");
        CHECK(broken.sent.at("guest-owner") == "destination");
        const json& there = broken.received.at("postcopy");
        CHECK(there.at("normal").get<std::uint64_t>() + there.at("zero").get<std::uint64_t>() ==
              there.at("missing").get<std::uint64_t>());
        CHECK(there.at("dropped") == 0);
        cut += broken.cuts;
        interruptions += there.at("interruptions").get<std::uint64_t>();
    }
    WARN("seed " << seed << ": " << cut << " connections cut in " << turns
                 << " migrations, post-copy was interrupted " << interruptions << " times");
    CHECK(interruptions != 0);
}

TEST_CASE("a receiver whose source was killed in post-copy waits with its guest and says so",
          "[live]") {
    const TemporaryFolder folder;
    LiveRun run(folder, "workload:32M,rate=100,warm-up=0",
                {"--postcopy", "after-round=0", "--max-postcopy-bandwidth", "1M/s"});
    REQUIRE(run.receiver->await_text("post-copy: the pages are sent"));
    run.sender.signal(SIGKILL);
    run.sender.wait();
    REQUIRE(run.receiver->await_text("post-copy is paused"));
    run.receiver->signal(SIGINT);
    REQUIRE(run.receiver->await_text("a second signal ends this program and the guest"));
    CHECK_FALSE(run.receiver->ended_within(milliseconds(200)));
    run.receiver->signal(SIGINT);
    CHECK(run.receiver->wait() == 1);
    CHECK(run.receiver->both().find("the guest is lost") != std::string::npos);
}

TEST_CASE("post-copy is refused by name where it is not possible", "[live]") {
    const TemporaryFolder folder;
    make_image(folder / "image", 4, 1);
    const auto refused = [&](const std::vector<std::string>& send,
                             const std::string& source = "workload:4M,warm-up=0") {
        Receiver receiver({"--sink", "anon:", "--reuse", folder / "image"});
        Process sender(send_arguments(receiver, source, send));
        const int code = sender.wait();
        receiver->signal(SIGINT);
        receiver->wait();
        INFO(sender.both());
        CHECK(code != 0);
        return sender.both();
    };
    const auto says = [](const std::string& output, const char* text) {
        INFO(output);
        CHECK(output.find(text) != std::string::npos);
    };
    says(refused({"--postcopy", "manual"}), "postcopy-ram and reuse cannot be combined");
    says(refused({"--postcopy", "manual"}, "anon:4M"), "has no guest");
    says(refused({"--postcopy", "manual", "--verify", "digest"}), "verify=digest");
    says(refused({"--postcopy", "sometimes"}), "after-round=N");
}

}  // namespace
}  // namespace migrate::e2e
