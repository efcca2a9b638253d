// `migrate bench` with a tiny scenario: its files, and their figures against the raw results.
#include <csignal>
#include <filesystem>

#include <fstream>

#include "catch.hpp"
#include "e2e/process.hpp"
#include "e2e/transfer.hpp"
#include "memory/temporary_folder.hpp"

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

struct Bench {
    Bench() { write_text(folder / "tiny.json", kScenario); }

    static void write_text(const std::string& path, const std::string& text) {
        std::ofstream(path) << text;
    }
    static std::string read_text(const std::string& path) {
        std::ifstream file(path);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    std::vector<std::string> arguments(std::vector<std::string> more) const {
        std::vector<std::string> words{"bench",        folder / "tiny.json", "--out",
                                       folder / "out", "--scratch",          folder.path()};
        words.insert(words.end(), more.begin(), more.end());
        return words;
    }
    json results() const { return json::parse(read_text(folder / "out/results.json")); }
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
    const std::string report = Bench::read_text(bench.folder / "out/report.md");
    INFO(report);
    CHECK(report.find(fmt::format("| {:.1f} (", sum / 2)) != std::string::npos);
    CHECK(report.find("zeros (software device)") != std::string::npos);
    CHECK(report.find("none quoted: software device") != std::string::npos);
    CHECK(process.out().find("total time in ms") != std::string::npos);
    const std::string page = Bench::read_text(bench.folder / "out/report.html");
    const bool drawn = page.find("<svg") != std::string::npos;
    CHECK(drawn == (process.err().find("gnuplot") == std::string::npos));
    CHECK(page.find("</html>") != std::string::npos);

    Process again(bench.arguments({"--scale", "0.02"}));
    CHECK(again.wait() == 2);
    CHECK(again.err().find("--resume") != std::string::npos);
}

TEST_CASE("what was finished before an interruption is kept, and resumed", "[bench]") {
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

TEST_CASE("a scenario whose runs fail says so and fails", "[bench]") {
    const Bench bench;
    std::string text = kScenario;
    const std::string_view fill = "fill=zero";
    text.replace(text.find(fill), fill.size(), "fill=gold");
    Bench::write_text(bench.folder / "tiny.json", text);
    Process process(bench.arguments({"--scale", "0.02"}));
    const int code = process.wait();
    INFO(process.both());
    CHECK(code == 1);
    const json runs = bench.scenario()["runs"];
    CHECK(runs.size() == 6);
    CHECK(runs[1]["error"].get<std::string>().find("fill=gold") != std::string::npos);
    CHECK(Bench::read_text(bench.folder / "out/report.md").find("failed:") != std::string::npos);
}

}  // namespace migrate::e2e
