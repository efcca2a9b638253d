// SPDX-License-Identifier: Apache-2.0
// A user follows a migration that runs.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "catch.hpp"
#include "e2e/live_run.hpp"

namespace migrate::e2e {
namespace {

using nlohmann::json;

TEST_CASE("progress changes within each round on both sides", "[live][progress]") {
    const TemporaryFolder folder;
    // Each of the first rounds takes longer than two intervals of the progress.
    LiveRun run(folder, "workload:16M,rate=6,warm-up=0",
                {"--max-bandwidth", "8M/s", "--downtime-limit", "300ms", "--events",
                 folder / "send.events"},
                {"--sink", "anon:", "--events", folder / "recv.events"});
    check_arrived(run);
    for (const char* side : {"send", "recv"}) {
        INFO(side);
        std::set<std::uint64_t> remaining;
        std::uint64_t transferred = 0;
        std::size_t later_rounds = 0;
        std::istringstream text(read_file(folder / (std::string(side) + ".events")));
        for (std::string one; std::getline(text, one);) {
            const json event = json::parse(one);
            if (event["event"] != "MIGRATION_PROGRESS") continue;
            const json& data = event["data"];
            CHECK(data["transferred"].get<std::uint64_t>() >= transferred);
            transferred = data["transferred"];
            CHECK(data.contains("total-time"));
            CHECK(data["bytes-per-second"] > 0);
            if (data["pass"] < 2) continue;
            ++later_rounds;
            remaining.insert(data["remaining"].get<std::uint64_t>());
        }
        CHECK(later_rounds > 1);
        CHECK(remaining.size() > 1);
    }
}

TEST_CASE("a migration shows no progress in a pipe unless it is asked to", "[live][progress]") {
    const bool asked = GENERATE(false, true);
    const TemporaryFolder folder;
    std::vector<std::string> options{"--max-bandwidth", "8M/s", "--downtime-limit", "1s"};
    if (asked) options.insert(options.end(), {"--progress", "on"});
    LiveRun run(folder, "workload:16M,rate=2,warm-up=0", options);
    check_arrived(run);
    CHECK((run.sender.err().find(" elapsed") != std::string::npos) == asked);
    CHECK(run.receiver->err().find(" elapsed") == std::string::npos);
}

}  // namespace
}  // namespace migrate::e2e
