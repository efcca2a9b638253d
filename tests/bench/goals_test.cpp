// SPDX-License-Identifier: Apache-2.0
#include "bench/goals.hpp"

#include "bench/canned_results.hpp"
#include "bench/figures.hpp"
#include "bench/html.hpp"
#include "bench/markdown.hpp"
#include "bench/scenario_text.hpp"
#include "bench/tables.hpp"
#include "bench/terminal.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace migrate;
using namespace migrate::bench;

namespace {

constexpr const char* kTwo =
    R"({"name": "base", "published": {"total-time": 300, "downtime-p25": 10}},
       {"name": "dsa", "peer": true, "published": {"total-time": 200}})";
constexpr const char* kSwept =
    R"({"name": "v", "sweep": {"n": [1, 2]}, "send": {"multifd-channels": "{n}"}},
       {"name": "w", "sweep": {"n": [1, 2]}, "send": {"multifd-channels": "{n}"}})";

std::vector<Goal> goals_of(const std::string& goals, const char* variants = kTwo) {
    return test::parsed(variants, ", \"goals\": [" + goals + "]").goals;
}

std::string goal_refusal(const std::string& goal) {
    return test::refusal_of(kTwo, ", \"goals\": [" + goal + "]");
}

// The canned scenario's verdict on one goal. base takes 2, 3 and 4 ms, dsa 1, 1.5 and 2 ms.
Verdict verdict_on(const std::string& goal) {
    Json canned = test::results("DSA")["scenarios"][0];
    for (const Goal& each : goals_of(goal)) canned["goals"].push_back(each.json());
    const std::vector<Verdict> verdicts = judge(canned);
    REQUIRE(verdicts.size() == 1);
    return verdicts[0];
}

}  // namespace

TEST_CASE("a goal limits a figure, or the ratio of two series") {
    using State = Verdict::State;
    const auto state = [](const std::string& goal) { return verdict_on(goal).state; };
    CHECK(state(R"({"figure": "total-time", "of": "base", "at-most": 3})") == State::kMet);
    CHECK(state(R"({"figure": "total-time", "of": "base", "at-most": 2.9})") == State::kMissed);
    CHECK(state(R"({"figure": "total-time", "of": "base", "at-least": 3.1})") == State::kMissed);
    CHECK(state(R"({"figure": "total-time", "of": "base", "by": "best", "at-most": 2})") ==
          State::kMet);
    CHECK(state(R"({"figure": "total-time", "of": "base", "by": "worst", "at-most": 3.9})") ==
          State::kMissed);
    CHECK(state(R"({"figure": "total-time", "of": "dsa", "against": "base", "at-most": 0.5})") ==
          State::kMet);
    CHECK(state(R"({"figure": "total-time", "of": "dsa", "against": "base", "at-most": 0.49})") ==
          State::kMissed);
    // The best throughput is the largest.
    CHECK(state(R"({"figure": "gb-per-s", "of": "dsa", "by": "best", "at-least": 999})") ==
          State::kMet);
    CHECK(state(R"({"figure": "total-time", "of": ["dsa", "base"], "within": 2})") == State::kMet);
    CHECK(state(R"({"figure": "total-time", "of": ["dsa", "base"], "within": 1.9})") ==
          State::kMissed);
    // The values of a list are added: 3 ÷ (3 + 1.5).
    CHECK(state(R"({"figure": "total-time", "of": "base", "against": ["base", "dsa"],
                    "at-most": 0.67, "at-least": 0.66})") == State::kMet);
}

TEST_CASE("a verdict says the goal, the limit and the figures in words") {
    const Verdict verdict =
        verdict_on(R"({"figure": "total-time", "of": "dsa", "against": "base", "at-most": 0.49})");
    CHECK(verdict.goal == "median total-time of dsa ÷ base");
    CHECK(verdict.wanted == "at most 0.49");
    CHECK(verdict.found == "0.5 (1.5 ÷ 3 ms)");
    const Verdict absolute =
        verdict_on(R"({"figure": "total-time", "of": "base", "by": "p25", "at-most": 2})");
    CHECK(absolute.goal == "p25 total-time of base");
    CHECK(absolute.wanted == "at most 2 ms");
    CHECK(absolute.found == "2.5 ms");
}

TEST_CASE("a goal is measured against the published ratio") {
    // 3 ÷ 1.5 = 2 measured, 300 ÷ 200 = 1.5 published.
    const std::string goal =
        R"({"figure": "total-time", "of": "base", "against": "dsa", "published-within": )";
    const Verdict near = verdict_on(goal + "0.34}");
    CHECK(near.state == Verdict::State::kMet);
    CHECK(near.wanted == "within 34 % of the published 1.5");
    CHECK(verdict_on(goal + "0.33}").state == Verdict::State::kMissed);
    CHECK(goals_of(R"({"figure": "downtime", "by": "p25", "of": "base",
                       "published-within": 0.1})")[0]
              .published == 10);
}

TEST_CASE("a goal without figures is not judged, and the reason is given") {
    const auto reason = [](const std::string& goal) {
        const Verdict verdict = verdict_on(goal);
        CHECK(verdict.state == Verdict::State::kNotJudged);
        return verdict.found;
    };
    CHECK(reason(R"({"figure": "downtime", "of": "base", "at-most": 3})") ==
          "base: its runs have no downtime");
    CHECK(reason(R"({"figure": "total-time", "of": "dsa", "against": "qemu", "at-most": 1})") ==
          "dsa-qemu: did not run; --peer qemu runs it");
    Json canned = test::results("DSA")["scenarios"][0];
    for (const Goal& goal : goals_of(R"({"figure": "total-time", "of": "large", "at-most": 1})",
                                     R"({"name": "large"})"))
        canned["goals"].push_back(goal.json());
    CHECK(judge(canned)[0].found == "large: skipped: too large");
}

TEST_CASE("the name of a sweep stands for all its points, compared pairwise") {
    const auto goals =
        goals_of(R"({"figure": "gb-per-s", "of": "v", "against": "w", "at-least": 1})", kSwept);
    REQUIRE(goals.size() == 2);
    CHECK(goals[1].of == std::vector<std::string>{"v-2"});
    CHECK(goals[1].against == std::vector<std::string>{"w-2"});
    const auto spread = goals_of(R"({"figure": "gb-per-s", "of": "v", "within": 1.1})", kSwept);
    REQUIRE(spread.size() == 1);
    CHECK(spread[0].of == std::vector<std::string>{"v-1", "v-2"});
    CHECK(goals_of(R"({"figure": "gb-per-s", "of": "v-2", "at-least": 1})", kSwept).size() == 1);
    CHECK(goals_of(R"({"figure": "cpu-ms", "of": "dsa", "against": "qemu", "at-most": 1})")[0]
              .against == std::vector<std::string>{"dsa-qemu"});
    CHECK(goals_of(R"({"figure": "cpu-ms", "of": "dsa", "against": "qemu-10", "at-most": 1})")[0]
              .against == std::vector<std::string>{"dsa-qemu-10"});
}

TEST_CASE("a wrong goal is refused with its number and the reason") {
    const auto refuses = [](const std::string& goal, std::string_view why) {
        const std::string message = goal_refusal(goal);
        INFO(message);
        CHECK(message.find("goal 1: ") != std::string::npos);
        CHECK(message.find(why) != std::string::npos);
    };
    refuses("1", "the goal is no object");
    refuses(R"({"of": "base", "at-most": 1})", "figure is missing");
    refuses(R"({"figure": "totaltime", "of": "base", "at-most": 1})", "did you mean 'total-time'?");
    refuses(R"({"figure": "total-time", "at-most": 1})", "of is missing");
    refuses(R"({"figure": "total-time", "of": "bas", "at-most": 1})", "did you mean 'base'?");
    refuses(R"({"figure": "total-time", "of": [1], "at-most": 1})", "of is no text");
    refuses(R"({"figure": "total-time", "of": "base"})", "a goal needs a limit");
    refuses(R"({"figure": "total-time", "of": "base", "at-mots": 1})", "did you mean 'at-most'?");
    refuses(R"({"figure": "total-time", "of": "base", "at-most": "1"})",
            "not a number of 0 or more");
    refuses(R"({"figure": "total-time", "of": "base", "at-most": -1})",
            "not a number of 0 or more");
    refuses(R"({"figure": "total-time", "of": "base", "at-most": 1, "at-least": 2})",
            "is less than");
    refuses(R"({"figure": "total-time", "of": "base", "by": "mean", "at-most": 1})",
            "not one of median");
    refuses(R"({"figure": "total-time", "of": "base", "against": "dso", "at-most": 1})", "'dsa'");
    refuses(R"({"figure": "total-time", "of": "base", "against": "qemu", "at-most": 1})",
            "not marked \"peer\"");
    refuses(R"({"figure": "total-time", "of": "base", "within": 2})", "two variants or more");
    refuses(R"({"figure": "total-time", "of": ["base", "dsa"], "within": 0.9})", "less than 1");
    refuses(R"({"figure": "total-time", "of": ["base", "dsa"], "within": 2, "at-most": 1})",
            "stands alone");
    refuses(R"({"figure": "total-time", "of": ["base", "dsa"], "against": "dsa", "within": 2})",
            "not against");
    refuses(R"({"figure": "cpu-ms", "of": "base", "published-within": 0.1})",
            "no published \"cpu-ms\"");
    CHECK(test::refusal_of(kTwo, R"(, "goals": [])").find("goals is no list") != std::string::npos);
    CHECK(test::refusal_of(kTwo, R"(, "goals": {})").find("goals is no list") != std::string::npos);
}

TEST_CASE("reports and terminal show each goal and its outcome") {
    Json results = test::results("DSA");
    Json& canned = results["scenarios"][0];
    CHECK(goals_table(canned).rows.empty());
    CHECK(goals_text(canned).empty());
    for (const Goal& goal : goals_of(R"({"figure": "total-time", "of": "base", "at-most": 3},
                     {"figure": "total-time", "of": "dsa", "at-most": 1},
                     {"figure": "downtime", "of": "dsa", "at-most": 1})"))
        canned["goals"].push_back(goal.json());
    const std::string page = html_report(results, {}, "");
    const std::string markdown = markdown_report(results);
    const std::string terminal = goals_text(canned);
    for (const char* outcome : {"met", "missed", "not judged"}) {
        INFO(outcome);
        CHECK(page.find(fmt::format(">{}</td>", outcome)) != std::string::npos);
        CHECK(markdown.find(fmt::format("| {} |\n", outcome)) != std::string::npos);
        CHECK(terminal.find(fmt::format("goal {}: ", outcome)) != std::string::npos);
    }
    CHECK(page.find("<h3>Goals</h3>") != std::string::npos);
}

TEST_CASE("docs/bench.md explains every figure") {
    const std::string text = read_file(MIGRATE_SOURCE_DIR "/docs/bench.md");
    for (const FigureRow& row : figure_rows()) {
        INFO(row.name);
        CHECK(text.find(fmt::format("`{}`", row.name)) != std::string::npos);
    }
}
