// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_command.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <set>
#include <vector>

#include "base/outcome.hpp"
#include "base/suggestion.hpp"
#include "bench/loops/loop.hpp"
#include "cli/console.hpp"
#include "cli/signals.hpp"
#include "cli/usage_error.hpp"

namespace migrate::cli {
namespace {

constexpr double kSmallestScale = 0.0001;
constexpr double kLargestScale = 16;

Result<const CommandFlag*> find_flag(std::string_view word) {
    std::string_view name = word;
    name.remove_prefix(std::min(name.find_first_not_of('-'), name.size()));
    std::vector<std::string_view> names;
    for (const CommandFlag& flag : kBenchFlags) {
        if (word == fmt::format("--{}", flag.name)) return &flag;
        if (!flag.letter.empty() && word == fmt::format("-{}", flag.letter)) return &flag;
        names.push_back(flag.name);
    }
    return usage_error("'migrate bench': unknown option '{}'{}", word,
                       suggestion(name, names, "--"));
}

Result<double> parse_scale(std::string_view text) {
    double scale = 0;
    const char* end = text.data() + text.size();
    const auto [stopped, code] = std::from_chars(text.data(), end, scale);
    if (code != std::errc{} || stopped != end || !(scale >= kSmallestScale) ||
        scale > kLargestScale) {
        return usage_error("option scale: '{}' is not a number in the range {} … {}", text,
                           kSmallestScale, kLargestScale);
    }
    return scale;
}

Status set_value(std::string_view name, const std::string& value, BenchLine& line) {
    bench::Request& request = line.request;
    if (value.empty()) return usage_error("option {} is empty", name);
    if (name == "out") request.out = value;
    if (name == "scenarios") request.scenario_folder = value;
    if (name == "scratch") request.scratch = value;
    if (name == "scale") {
        MIGRATE_ASSIGN(request.mode.scale, parse_scale(value));
    }
    if (name == "loop") {
        Result<bench::BaselineSpec> loop = bench::parse_baseline(value);
        if (!loop) return std::move(loop).error().with_context("option loop");
        line.loop = *loop;
    }
    if (name == "peer") {
        if (value != "qemu" && value != "none") {
            return usage_error("option peer: must be qemu or none, not '{}'", value);
        }
        request.mode.peer = value == "qemu";
    }
    return {};
}

void set_switch(std::string_view name, BenchLine& line) {
    if (name == "list") line.list = true;
    if (name == "quick") line.request.mode.quick = true;
    if (name == "resume") line.request.resume = true;
    if (name == "help") line.help = true;
}

Status check(const BenchLine& line) {
    if (line.help || line.list || line.loop) return {};
    if (line.request.scenarios.empty()) {
        return usage_error("'migrate bench' needs the name of a scenario; --list shows them");
    }
    if (line.request.out.empty()) {
        return usage_error("'migrate bench' needs a folder for its results: --out DIR");
    }
    return {};
}

int print(const Result<std::string>& text) {
    if (!text) return report_error(text.error());
    const bool printed = std::fputs(text->c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
    return exit_code_of(printed ? Outcome::kCompleted : Outcome::kFailed);
}

Result<std::string> loop_text(const bench::BaselineSpec& spec) {
    MIGRATE_ASSIGN(const bench::Json figures, bench::run_loop(spec));
    return figures.dump() + '\n';
}

// Says what failed or was missed, and returns the exit code.
int conclude(const bench::Tally& tally) {
    if (tally.failed_runs != 0) {
        return report_error(make_error("{} runs failed; the report names them and their errors",
                                       tally.failed_runs));
    }
    if (tally.missed_goals == 0) return exit_code_of(Outcome::kCompleted);
    report_error(make_error("{} of {} goals were missed; the report lists them", tally.missed_goals,
                            tally.goals));
    return exit_code_of(Outcome::kGoalMissed);
}

}  // namespace

Result<BenchLine> parse_bench(std::span<const char* const> args) {
    BenchLine line;
    std::set<std::string_view> seen;
    for (std::size_t i = 0; i < args.size(); ++i) {
        const std::string_view word = args[i];
        if (!word.starts_with('-')) {
            line.request.scenarios.emplace_back(word);
            continue;
        }
        const std::size_t equals = std::min(word.find('='), word.size());
        MIGRATE_ASSIGN(const CommandFlag* flag, find_flag(word.substr(0, equals)));
        if (!seen.insert(flag->name).second) {
            return usage_error("option {} is given twice", flag->name);
        }
        if (flag->value_name.empty()) {
            if (equals < word.size()) return usage_error("option {} takes no value", flag->name);
            set_switch(flag->name, line);
            continue;
        }
        if (equals == word.size() && i + 1 == args.size()) {
            return usage_error("option {} needs a value: --{} {}", flag->name, flag->name,
                               flag->value_name);
        }
        const std::string value(equals < word.size() ? word.substr(equals + 1) : args[++i]);
        MIGRATE_TRY(set_value(flag->name, value, line));
    }
    MIGRATE_TRY(check(line));
    return line;
}

int run_bench_command(const BenchLine& line) {
    if (line.list) return print(bench::list_text(line.request.scenario_folder));
    if (line.loop) return print(loop_text(*line.loop));
    // A second signal is ignored: it would leave children and files behind, and the first ends the
    // bench soon.
    const Result<Signals> signals = Signals::create(Signals::Second::kIsIgnored);
    if (!signals) return report_error(signals.error());
    const Result<bench::Tally> tally =
        bench::run_bench(line.request, signals->fd(), ::isatty(STDERR_FILENO) == 1);
    if (!tally) {
        // An interrupted bench failed: it did not measure everything.
        report_error(tally.error());
        return exit_code_of(tally.error().kind() == ErrorKind::kUsage ? Outcome::kUsage
                                                                      : Outcome::kFailed);
    }
    return conclude(*tally);
}

}  // namespace migrate::cli
