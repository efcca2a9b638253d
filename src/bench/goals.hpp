// SPDX-License-Identifier: Apache-2.0
// The goals of a scenario: what its figures have to reach.
//   {"figure": "total-time", "of": "anon", "against": "qemu", "at-most": 0.67}
// Without "against" the limit is in the figure's unit; with it, it is a ratio of two series of the
// same run of the bench. docs/bench.md has all keys.
// Invariant: a goal is met, missed, or not judged with a reason; it never counts as met for want of
// figures.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/enum_names.hpp"
#include "base/error.hpp"
#include "bench/json.hpp"

namespace migrate::bench {

struct Variant;

inline constexpr std::size_t kMaxGoals = 64;

// The one value that stands for a series of runs.
enum class GoalValue { kMedian, kBest, kWorst, kP25 };
constexpr auto enum_names(GoalValue) {
    return names_of_enum<GoalValue>({{GoalValue::kMedian, "median"},
                                     {GoalValue::kBest, "best"},
                                     {GoalValue::kWorst, "worst"},
                                     {GoalValue::kP25, "p25"}});
}

// A goal for one series, or for the spread of several.
struct Goal {
    std::string figure;
    GoalValue value = GoalValue::kMedian;
    std::vector<std::string> of;       // one variant; several with `within`
    std::vector<std::string> against;  // the sum of these is divided by; empty: no ratio
    // At least one of these four.
    std::optional<double> at_most;
    std::optional<double> at_least;
    std::optional<double> within;            // largest over smallest value of the series
    std::optional<double> published_within;  // part of the published value, 0.1 for 10 %
    double published = 0;                    // the value, or ratio, that was published

    Json json() const;  // as results.json keeps it
};

// "goals" of a scenario, one for each series: a name of a sweep stands for all its points. Empty
// without the key. Fails with kUsage.
Result<std::vector<Goal>> parse_goals(const Json& scenario, const std::vector<Variant>& variants);

struct Verdict {
    enum class State { kMet, kMissed, kNotJudged };
    State state = State::kNotJudged;
    std::string goal;    // "median total-time of anon ÷ anon-qemu"
    std::string words;   // the same for a sentence, with labels instead of names
    std::string wanted;  // "at most 0.67"
    std::string found;   // "0.71 (948 ÷ 1335 ms)", or why it could not be judged
    // If it was judged: the ratio of the goal, or the value over its limit or the published value.
    double ratio = 0;
};
std::string_view word_of(Verdict::State state);  // "met", "missed", "not judged"

// "0.67", "948.2", "12345": three or more digits, as many as are worth reading.
std::string short_number(double value);

// The goals of a scenario's entry in results.json, judged by its runs.
std::vector<Verdict> judge(const Json& scenario);

}  // namespace migrate::bench
