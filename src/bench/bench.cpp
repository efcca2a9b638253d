// SPDX-License-Identifier: Apache-2.0
#include "bench/bench.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "bench/baseline.hpp"
#include "bench/charts.hpp"
#include "bench/gnuplot.hpp"
#include "bench/goals.hpp"
#include "bench/host.hpp"
#include "bench/html.hpp"
#include "bench/markdown.hpp"
#include "bench/qemu_peer.hpp"
#include "bench/results.hpp"
#include "bench/runner.hpp"
#include "bench/scenario_files.hpp"
#include "bench/terminal.hpp"

namespace migrate::bench {
namespace {

namespace fs = std::filesystem;

Result<std::vector<Plan>> make_plans(const Request& request) {
    // A tenth is left for the system and for the processes' own memory.
    const Limits limits{.memory = available_memory() / 10 * 9,
                        .dsa = has_dsa_queue(),
                        .peer_missing = qemu_missing(),
                        .iperf3_missing = iperf3_missing(),
                        .more_peers = {qemu_10()}};
    std::vector<Plan> plans;
    for (const std::string& name : request.scenarios) {
        MIGRATE_ASSIGN(Scenario scenario, load_scenario(name, request.scenario_folder));
        for (const Plan& plan : plans) {
            if (plan.scenario.name == scenario.name) {
                return make_error(ErrorKind::kUsage, "scenario {} is asked for twice",
                                  scenario.name);
            }
        }
        plans.push_back(make_plan(std::move(scenario), request.mode, limits));
    }
    return plans;
}

Result<Drawings> draw_all(const Json& results, const fs::path& folder, int stop_fd) {
    Drawings drawings;
    unsigned count = 0;
    const auto draw = [&](const Chart& chart) {
        return draw_svg(chart.script, fmt::format("c{}_", ++count), chart.width, chart.height,
                        folder, stop_fd);
    };
    for (const Json& scenario : results.at("scenarios")) {
        const std::vector<Chart> wide = charts_of(scenario, PageWidth::kWide);
        const std::vector<Chart> narrow = charts_of(scenario, PageWidth::kNarrow);
        for (std::size_t i = 0; i < wide.size(); ++i) {
            Drawing drawing{wide[i].title, wide[i].legend, "", ""};
            MIGRATE_ASSIGN(drawing.wide, draw(wide[i]));
            MIGRATE_ASSIGN(drawing.narrow, draw(narrow.at(i)));
            drawings[text_at(scenario, "name")].push_back(std::move(drawing));
        }
    }
    return drawings;
}

// Without gnuplot the page has the reason instead of charts; it was said before the runs.
Status write_reports(const Json& results, const fs::path& out, Terminal& terminal) {
    MIGRATE_TRY(write_file(out / "report.md", markdown_report(results)));
    std::string missing = gnuplot_missing();
    Drawings drawings;
    if (missing.empty()) {
        const fs::path folder = out / ".drawing";
        std::error_code failed;
        fs::create_directory(folder, failed);
        Result<Drawings> drawn = draw_all(results, folder, -1);
        fs::remove_all(folder, failed);
        if (drawn) {
            drawings = *std::move(drawn);
        } else {
            missing = drawn.error().message();
            terminal.note(missing);
        }
    }
    return write_file(out / "report.html", html_report(results, drawings, missing));
}

// Judges the scenario's goals, and keeps the verdicts beside the runs.
void judge_scenario(Json& scenario, Tally& tally) {
    scenario.erase("verdicts");
    for (const Verdict& verdict : judge(scenario)) {
        ++tally.goals;
        if (verdict.state == Verdict::State::kMissed) ++tally.missed_goals;
        if (verdict.state == Verdict::State::kNotJudged) ++tally.unjudged_goals;
        scenario["verdicts"].push_back({{"goal", verdict.goal},
                                        {"wanted", verdict.wanted},
                                        {"found", verdict.found},
                                        {"outcome", std::string(word_of(verdict.state))}});
    }
}

Result<Tally> run_plans(const std::vector<Plan>& plans, Results& results, const Request& request,
                        Terminal& terminal, int stop_fd) {
    MIGRATE_ASSIGN(Runner runner, Runner::create(request.scratch, results, terminal, stop_fd));
    Tally tally;
    for (const Plan& plan : plans) {
        MIGRATE_ASSIGN(const unsigned failed, runner.run(plan));
        tally.failed_runs += failed;
        MIGRATE_ASSIGN(Json * scenario, results.scenario(plan));
        judge_scenario(*scenario, tally);
        terminal.show(*scenario);
    }
    return tally;
}

}  // namespace

Result<std::string> list_text(const std::string& scenario_folder) {
    MIGRATE_ASSIGN(const std::vector<Scenario> scenarios, load_all(scenario_folder));
    std::string text;
    for (const Scenario& scenario : scenarios) {
        text += fmt::format("{:18} {}\n", scenario.name, scenario.title);
    }
    return text;
}

Result<Tally> run_bench(const Request& request, int stop_fd, bool live) {
    MIGRATE_ASSIGN(const std::vector<Plan> plans, make_plans(request));
    const fs::path out = request.out;
    std::error_code failed;
    fs::create_directories(out, failed);
    if (failed) {
        return make_error(ErrorKind::kUsage, "--out {}: {}", request.out, failed.message());
    }
    const fs::path file = out / "results.json";
    if (!request.resume && fs::exists(file)) {
        return make_error(
            ErrorKind::kUsage,
            "{} is there already: --resume goes on with it, another --out leaves it alone",
            file.string());
    }
    Result<Results> results = request.resume ? Results::resume(file, request.mode)
                                             : Result<Results>(Results::begin(file, request.mode));
    if (!results) return std::move(results).error();
    std::size_t runs = 0;
    for (const Plan& plan : plans) runs += plan.runs();
    Terminal terminal(runs, live);
    // Said before the runs, which may take an hour, so that it can still be installed.
    if (const std::string missing = gnuplot_missing(); !missing.empty()) terminal.note(missing);
    Result<Tally> done = run_plans(plans, *results, request, terminal, stop_fd);
    // The finished runs are reported, however the bench ended.
    MIGRATE_TRY(results->save());
    MIGRATE_TRY(write_reports(results->json(), out, terminal));
    terminal.note(
        fmt::format("{}, report.md and report.html are in {}", "results.json", request.out));
    return done;
}

}  // namespace migrate::bench
