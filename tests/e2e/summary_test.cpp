// SPDX-License-Identifier: Apache-2.0
// Both sides print a summary at the end of a migration.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "e2e/live_run.hpp"

namespace migrate::e2e {
namespace {

using Catch::Contains;

long lines_in(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

// Returns the output of a side from the summary on.
std::string summary_of(const Process& side) {
    const std::size_t begin = side.out().find("moved: ");
    return begin == std::string::npos ? std::string() : side.out().substr(begin);
}

TEST_CASE("an image ends with a summary of a few lines on both sides", "[summary]") {
    Receiver receiver({"--sink", "anon:"});
    Process sender(send_arguments(receiver, "anon:4M,fill=random", {"--verify", "digest"}));
    CHECK(sender.wait() == 0);
    CHECK(receiver->wait() == 0);
    CHECK(sender.out() == summary_of(sender));
    for (const Process* side : {&sender, &receiver.process()}) {
        INFO(side->both());
        CHECK(lines_in(summary_of(*side)) == 4);
        CHECK_THAT(side->out(), Contains("moved: 4.00 MiB from ") && Contains("time: ") &&
                                    Contains("pages: 1024 with content, 0 zero") &&
                                    Contains("proof: digest "));
        CHECK_THAT(side->out(), !Contains("kbytes"));
    }
}

TEST_CASE("a guest ends with five lines: moved, time, downtime, rounds, proof", "[summary]") {
    const TemporaryFolder folder;
    LiveRun run(folder, "workload:16M,rate=5,warm-up=0");
    check_arrived(run);
    CHECK(lines_in(run.sender.out()) == 5);
    for (const Process* side : {&run.sender, &run.receiver.process()}) {
        CHECK_THAT(side->out(), Contains("moved: the guest (workload, 16.00 MiB) from ") &&
                                    Contains("\ntime: ") && Contains("\ndowntime: ") &&
                                    Contains("\nrounds: ") && Contains("\nproof: "));
    }
    CHECK_THAT(run.sender.out(), Contains(" (expected "));
}

TEST_CASE("--verbose prints all figures, and no summary", "[summary]") {
    Receiver receiver({"--sink", "null:", "--verbose"});
    Process sender(send_arguments(receiver, "anon:1M", {"--verbose"}));
    CHECK(sender.wait() == 0);
    CHECK(receiver->wait() == 0);
    for (const Process* side : {&sender, &receiver.process()}) {
        CHECK_THAT(side->out(), Contains("Migration status: completed\n") &&
                                    Contains("\ntransferred ram: ") && !Contains("moved: "));
    }
}

TEST_CASE("-q prints nothing, and with --json the object", "[summary]") {
    const TemporaryFolder folder;
    const std::string port = folder / "port";
    Process receiver(
        {"recv", "--listen", "127.0.0.1:0", "--sink", "null:", "-q", "--port-file", port});
    REQUIRE(receiver.await([&] { return read_file(port).ends_with('\n'); }));
    const std::string endpoint = "127.0.0.1:" + std::to_string(std::stoi(read_file(port)));
    Process sender(send_arguments(endpoint, "anon:1M", {"--quiet", "--json"}));
    CHECK(sender.wait() == 0);
    CHECK(receiver.wait() == 0);
    CHECK(receiver.both().empty());
    CHECK(sender.err().empty());
    CHECK(nlohmann::json::parse(sender.out())["outcome"] == "completed");
}

TEST_CASE("--log-level debug adds what was agreed, each state, round and decision", "[summary]") {
    const TemporaryFolder folder;
    LiveRun run(folder, "workload:16M,rate=5,warm-up=0", {"--log-level", "debug"},
                {"--sink", "anon:", "--log-level", "debug"});
    check_arrived(run);
    CHECK_THAT(run.sender.err(),
               Contains("debug: agreed: heartbeats every ") && Contains("debug: state: active\n") &&
                   Contains("debug: round 1: 4096 pages, ") && Contains("; switchover"));
    CHECK_THAT(run.receiver->err(), Contains("debug: round 1 of 4096 pages begins\n") &&
                                        Contains("debug: round 1 is in place\n") &&
                                        Contains("debug: the switchover begins"));
}

TEST_CASE("a failure is one sentence and what to do, and no figures", "[summary]") {
    const bool quiet = GENERATE(false, true);
    std::vector<std::string> arguments{"send",     "--connect",         "127.0.0.1:1", "--source",
                                       "anon:64K", "--connect-timeout", "100ms"};
    if (quiet) arguments.emplace_back("-q");
    Process sender(arguments);
    CHECK(sender.wait() == 1);
    CHECK(sender.out().empty());
    const std::size_t error = sender.err().find("migrate: error: ");
    REQUIRE(error != std::string::npos);
    CHECK(lines_in(sender.err().substr(error)) == (quiet ? 1 : 2));
    CHECK((sender.err().find("start both sides again") == std::string::npos) == quiet);
    if (quiet) CHECK(error == 0);
}

}  // namespace
}  // namespace migrate::e2e
