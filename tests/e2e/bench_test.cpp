// SPDX-License-Identifier: Apache-2.0
// `migrate bench` with a tiny scenario: its files, and their figures against the raw results.
#include <csignal>
#include <filesystem>

#include "catch.hpp"
#include "e2e/process.hpp"
#include "e2e/transfer.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::e2e {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kScenario = R"({
    "name": "tiny", "title": "tiny", "about": "for the test", "tables": ["threads", "latency", "throughput"],
    "guest": "2G", "repeats": 2, "warm-ups": 1,
    "defaults": {"sink": "anon:", "send": {"multifd-channels": 2}},
    "variants": [
        {"name": "half", "source": "image:mixed:50"},
        {"name": "zeros", "source": "anon:{size},fill=zero", "compare-to": "half",
         "send": {"zero-page-detection": "dsa-accel"}}
    ]
})";

// The same transfer twice, a bare loop and iperf3, with these goals.
std::string with_goals(const std::string& goals) {
    return R"({
        "name": "tiny", "tables": ["throughput", "memory"], "guest": "32M", "repeats": 2, "warm-ups": 0,
        "defaults": {"source": "anon:{size},fill=random", "sink": "anon:"},
        "variants": [{"name": "v", "sweep": {"n": [1, 2]}, "send": {"multifd-channels": "{n}"}}],
        "baselines": [
            {"name": "loop", "run": "network:channels=2,receiver=huge"},
            {"name": "iperf3", "run": "iperf3:streams=2"}
        ],
        "goals": [)" +
           goals + "]}";
}

// Replaces iperf3: a server that waits for its client, and a client that prints figures.
constexpr const char* kFakeIperf3 = R"(#!/bin/sh
case "$*" in
*--server*)
    mkfifo "$0.fifo"
    echo "Server listening on a port"
    read -r line < "$0.fifo"
    rm "$0.fifo"
    ;;
*)
    echo "the client is there" > "$0.fifo"
    echo '{"end": {"sum_received": {"bytes": 33554432, "seconds": 0.5}}}'
    ;;
esac
)";

struct Bench {
    explicit Bench(const std::string& scenario = kScenario) {
        write_file(folder / "tiny.json", scenario);
    }

    std::vector<std::string> arguments(std::vector<std::string> more) const {
        std::vector<std::string> words{"bench",        folder / "tiny.json", "--out",
                                       folder / "out", "--scratch",          folder.path()};
        words.insert(words.end(), more.begin(), more.end());
        return words;
    }
    json results() const { return json::parse(read_file(folder / "out/results.json")); }
    const json scenario() const { return results().at("scenarios").at(0); }
    // The runner's own folder is gone when it has ended.
    bool left_nothing() const {
        for (const std::string& name : folder.names()) {
            if (name.find("migrate-bench.") == 0) return false;
        }
        return true;
    }

    TemporaryFolder folder;
};

}  // namespace

TEST_CASE("a scenario leaves raw results and reports that agree with them", "[bench]") {
    const Bench bench;
    Process process(bench.arguments({"--scale", "0.02"}));
    const int code = process.wait();
    INFO(process.both());
    REQUIRE(code == 0);
    CHECK(bench.left_nothing());
    const json scenario = bench.scenario();
    // A B A B, the warm-up first.
    std::vector<std::string> order;
    for (const json& run : scenario["runs"]) {
        order.push_back(run["variant"]);
        CHECK(run["warm-up"] == (run["turn"] == 0));
        const json& ram = run["send"]["ram"];
        CHECK(ram["total"] == run["recv"]["ram"]["total"]);
        CHECK(ram["transferred"] == run["recv"]["ram"]["transferred"]);
        CHECK(ram["total"] == 40 << 20);
        if (run["variant"] == "zeros") CHECK(ram["normal"] == 0);
        if (run["variant"] == "half")
            CHECK(ram["normal"].get<double>() == Approx(5120).margin(300));
    }
    CHECK(order == std::vector<std::string>{"half", "zeros", "half", "zeros", "half", "zeros"});
    // The median of the two timed runs stands in the table.
    double sum = 0;
    for (const std::size_t index : {2U, 4U})
        sum += scenario["runs"][index]["send"]["total-time-us"].get<double>() / 1000;
    const std::string report = read_file(bench.folder / "out/report.md");
    INFO(report);
    CHECK(report.find(fmt::format("| {:.1f} (", sum / 2)) != std::string::npos);
    CHECK(report.find("zeros (software device)") != std::string::npos);
    CHECK(report.find("none quoted: software device") != std::string::npos);
    CHECK(process.out().find("total time in ms") != std::string::npos);
    const std::string page = read_file(bench.folder / "out/report.html");
    const bool drawn = page.find("<svg") != std::string::npos;
    CHECK(drawn == (process.err().find("gnuplot") == std::string::npos));
    CHECK(page.find("</html>") != std::string::npos);

    Process again(bench.arguments({"--scale", "0.02"}));
    CHECK(again.wait() == 2);
    CHECK(again.err().find("--resume") != std::string::npos);
}

TEST_CASE("runs that ended before an interruption are kept, and the rest is resumed", "[bench]") {
    const Bench bench;
    Process process(bench.arguments({"--scale", "0.02"}));
    REQUIRE(process.await_text("2/6 "));
    process.signal(SIGINT);
    const int code = process.wait();
    INFO(process.both());
    REQUIRE(code == 1);
    CHECK(bench.left_nothing());
    const json kept = bench.scenario()["runs"];
    REQUIRE(kept.size() >= 2);
    CHECK(fs::exists(bench.folder / "out/report.html"));
    Process resumed(bench.arguments({"--scale", "0.02", "--resume"}));
    const int resumed_code = resumed.wait();
    INFO(resumed.both());
    REQUIRE(resumed_code == 0);
    const json all = bench.scenario()["runs"];
    CHECK(all.size() == 6);
    for (std::size_t i = 0; i < kept.size(); ++i) CHECK(all[i] == kept[i]);
}

TEST_CASE("a scenario whose runs fail reports it and fails", "[bench]") {
    const Bench bench;
    std::string text = kScenario;
    const std::string_view fill = "fill=zero";
    text.replace(text.find(fill), fill.size(), "fill=gold");
    write_file(bench.folder / "tiny.json", text);
    Process process(bench.arguments({"--scale", "0.02"}));
    const int code = process.wait();
    INFO(process.both());
    CHECK(code == 1);
    const json runs = bench.scenario()["runs"];
    CHECK(runs.size() == 6);
    CHECK(runs[1]["error"].get<std::string>().find("fill=gold") != std::string::npos);
    CHECK(read_file(bench.folder / "out/report.md").find("failed:") != std::string::npos);
}

TEST_CASE("goals that are met are shown, and the exit code is 0", "[bench]") {
    const Bench bench(with_goals(
        R"({"figure": "total-time", "of": "v", "at-most": 60000},
           {"figure": "recv-peak-mib", "of": "v", "at-least": 32},
           {"figure": "gb-per-s", "of": "v-1", "against": "iperf3", "at-least": 0.5})"));
    Process process(bench.arguments({}), {.environment = {"PATH=/nowhere"}});
    const int code = process.wait();
    INFO(process.both());
    REQUIRE(code == 0);
    CHECK(bench.left_nothing());
    const json scenario = bench.scenario();
    // One goal for each point of the sweep. The last cannot be judged without iperf3.
    REQUIRE(scenario["verdicts"].size() == 5);
    CHECK(scenario["verdicts"][0]["outcome"] == "met");
    CHECK(scenario["verdicts"][4]["outcome"] == "not judged");
    CHECK(process.out().find("goal met: median total-time of v-1: ") != std::string::npos);
    // Said before the first run has ended, and once.
    const std::size_t no_charts = process.err().find("the report has no charts: gnuplot");
    CHECK(no_charts < process.err().find("1/"));
    CHECK(process.err().find("has no charts", no_charts + 20) == std::string::npos);
    CHECK(process.out().find("goal not judged: ") != std::string::npos);
    const std::string report = read_file(bench.folder / "out/report.md");
    CHECK(report.find("iperf3:streams=2: skipped: iperf3 is not installed") != std::string::npos);
    CHECK(read_file(bench.folder / "out/report.html").find("<h3>Goals</h3>") != std::string::npos);
    for (const json& run : scenario["runs"]) CHECK(run["variant"] != "iperf3");
}

TEST_CASE("a missed goal has an exit code of its own", "[bench]") {
    const Bench bench(with_goals(R"({"figure": "total-time", "of": "v-2", "at-most": 0.001},
                                    {"figure": "total-time", "of": "v-1", "at-most": 60000})"));
    Process process(bench.arguments({}));
    const int code = process.wait();
    INFO(process.both());
    CHECK(code == 7);
    CHECK(process.out().find("goal missed: median total-time of v-2: ") != std::string::npos);
    CHECK(process.err().find("1 of 2 goals were missed") != std::string::npos);
    CHECK(bench.scenario()["verdicts"][0]["outcome"] == "missed");
    // The finished results are judged again, without another run.
    Process resumed(bench.arguments({"--resume"}));
    CHECK(resumed.wait() == 7);
}

TEST_CASE("a failed run decides the exit code before a missed goal", "[bench]") {
    std::string text = with_goals(R"({"figure": "total-time", "of": "v-1", "at-most": 0.001})");
    const std::string_view options = R"("multifd-channels": "{n}")";
    text.replace(text.find(options), options.size(),
                 R"("multifd-channels": 1, "accel-path": "dsa:/dev/dsa/{n}")");
    const Bench bench(text);
    Process process(bench.arguments({}), {.environment = {"PATH=/nowhere"}});
    const int code = process.wait();
    INFO(process.both());
    CHECK(code == 1);
    CHECK(process.out().find("goal not judged: ") != std::string::npos);
}

TEST_CASE("baselines run in the same alternation as the transfers", "[bench]") {
    const Bench bench(
        with_goals(R"({"figure": "gb-per-s", "of": "iperf3", "against": "loop", "at-least": 0})"));
    write_file(bench.folder / "iperf3", kFakeIperf3);
    fs::permissions(bench.folder / "iperf3", fs::perms::owner_all);
    Process process(bench.arguments({}),
                    {.environment = {"PATH=" + bench.folder.path() + ":/bin"}});
    const int code = process.wait();
    INFO(process.both());
    REQUIRE(code == 0);
    const json runs = bench.scenario()["runs"];
    std::vector<std::string> order;
    for (const json& run : runs) order.push_back(run["variant"]);
    const std::vector<std::string> turn{"v-1", "v-2", "loop", "iperf3"};
    std::vector<std::string> twice = turn;
    twice.insert(twice.end(), turn.begin(), turn.end());
    REQUIRE(order == twice);
    CHECK(runs[0]["peak-memory"]["send"].get<double>() > (32 << 20));
    CHECK(runs[2]["send"]["ram"]["total"] == 32 << 20);
    CHECK(runs[2]["cpu-ms"]["send"].get<double>() > 0);
    CHECK(runs[3]["send"]["total-time-us"] == 500'000);
}

TEST_CASE("a program without its checkout runs a built-in scenario by name", "[bench]") {
    const TemporaryFolder folder;
    const std::string program = folder / "migrate";
    fs::copy_file(MIGRATE_BINARY, program);
    Process list(program, {"bench", "--list"});
    CHECK(list.wait() == 0);
    CHECK(list.out().find("zero-threads") != std::string::npos);
    Process run(program, {"bench", "zero-threads", "--quick", "--scale", "0.0001", "--out",
                          folder / "out", "--scratch", folder.path()});
    const int code = run.wait();
    INFO(run.both());
    CHECK(code == 0);
    CHECK(fs::exists(folder / "out/report.html"));
    Process unknown(program, {"bench", "zero-thread", "--out", folder / "other"});
    CHECK(unknown.wait() == 2);
    CHECK(unknown.err().find("did you mean 'zero-threads'?") != std::string::npos);
}

}  // namespace migrate::e2e
