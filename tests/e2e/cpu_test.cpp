// SPDX-License-Identifier: Apache-2.0
// CPUs of a migration between two processes: affinity, budget, and the guest's own speed.
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/cpu_set.hpp"
#include "catch.hpp"
#include "e2e/live_run.hpp"

namespace migrate::e2e {
namespace {

// Name and Cpus_allowed_list of each thread of a process.
std::map<std::string, std::string> cpus_of_threads(pid_t pid) {
    std::map<std::string, std::string> cpus;
    for (const auto& task :
         std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
        std::ifstream file(task.path() / "status");
        std::string name;
        for (std::string line; std::getline(file, line);) {
            if (line.starts_with("Name:\t")) name = line.substr(6);
            if (line.starts_with("Cpus_allowed_list:\t")) cpus[name] = line.substr(19);
        }
    }
    return cpus;
}

TEST_CASE("cpu-affinity places the threads of a session, and not those of its guest", "[live]") {
    const CpuSet all = cpus_of_this_thread();
    const std::string last = std::to_string(all.back());
    const TemporaryFolder folder;
    LiveRun run(folder, "workload:64M,rate=20",
                {"--cpu-affinity", last, "--max-bandwidth", "5M/s", "--deadline", "2s",
                 "--on-deadline", "switch"},
                {"--sink", "anon:", "--cpu-affinity", last});
    REQUIRE(run.sender.await_text("connected to"));
    std::map<std::string, std::string> sender;
    while (!sender.contains("multifdsend_0")) sender = cpus_of_threads(run.sender.pid());
    CHECK(sender["multifdsend_0"] == last);
    CHECK(sender["return_path"] == last);
    CHECK(sender["vcpu_0"] == cpu_list_text(all));
    check_arrived(run);
    CHECK(run.sent()["cpu"]["affinity"] == last);
    CHECK(run.received()["cpu"]["affinity"] == last);
}

TEST_CASE("CPUs that do not exist, and lists with errors, are refused by name", "[transfer]") {
    const auto refused = [](const std::string& list, int code, const std::string& text) {
        for (const bool sends : {true, false}) {
            Process side =
                sends ? Process(MIGRATE_BINARY, {"send", "--connect", "127.0.0.1:1", "--source",
                                                 "anon:1M", "--cpu-affinity", list})
                      : Process(MIGRATE_BINARY, {"recv", "--listen", "127.0.0.1:0", "--sink",
                                                 "null:", "--cpu-affinity", list});
            CHECK(side.wait() == code);
            INFO(side.both());
            CHECK(side.err().find(text) != std::string::npos);
        }
    };
    refused("60000", 3, "this process may not use the CPUs 60000; it may use ");
    refused("0,60000-60002", 3, "this process may not use the CPUs 60000-60002");
    refused("3-1", 2, "option cpu-affinity: '3-1' is not a CPU or a range of CPUs");
    refused("", 2, "option cpu-affinity: '' is not a CPU");
}

TEST_CASE("both sides keep cpu-budget, and say what they used", "[transfer]") {
    const TemporaryFolder folder;
    const TransferStats stats = run_transfer(folder, {.source = "anon:512M,fill=random",
                                                      .sink = "anon:",
                                                      .send_options = {"--cpu-budget", "10"},
                                                      .recv_options = {"--cpu-budget", "10"}});
    for (const nlohmann::json& side : {stats.sender, stats.receiver}) {
        const nlohmann::json& cpu = side.at("cpu");
        INFO(cpu.dump());
        CHECK(cpu["budget-percent"] == 10);
        CHECK(cpu["used-percent"] > 0);
        CHECK(cpu["used-percent"] < 10 * 1.25);
    }
    // One of them waited: the work takes more than that.
    CHECK(stats.sender["cpu"]["waited-us"].get<std::uint64_t>() +
              stats.receiver["cpu"]["waited-us"].get<std::uint64_t>() >
          0);
}

TEST_CASE("a budget holds a live migration up to its switchover, and the guest arrives", "[live]") {
    const TemporaryFolder folder;
    // The last round is not limited, so it is faster than the rounds before it.
    LiveRun run(folder, "workload:96M,rate=20",
                {"--cpu-budget", "5", "--avail-switchover-bandwidth", "2G/s", "--verbose"},
                {"--sink", "anon:", "--cpu-budget", "5"});
    check_arrived(run);
    const nlohmann::json cpu = run.sent()["cpu"];
    INFO(cpu.dump());
    CHECK(cpu["used-percent"] < 5 * 1.5);
    const nlohmann::json guest = run.sent()["guest"];
    CHECK(guest["bytes-per-second-before"] > 0);
    CHECK(guest["bytes-per-second-during"] > 0);
    CHECK(run.sender.both().find("guest speed: ") != std::string::npos);
}

TEST_CASE("a deadline that switches over lifts the budget at that moment", "[live]") {
    const TemporaryFolder folder;
    // With 1 % of the host the first round would take far longer.
    LiveRun run(folder, "workload:512M,rate=1,fill=all",
                {"--cpu-budget", "1", "--deadline", "1500ms", "--on-deadline", "switch"});
    check_arrived(run);
    CHECK(run.sent()["total-time"] < 15'000);
}

}  // namespace
}  // namespace migrate::e2e
