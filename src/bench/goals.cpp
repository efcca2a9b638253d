// SPDX-License-Identifier: Apache-2.0
#include "bench/goals.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <span>

#include "base/suggestion.hpp"
#include "bench/figures.hpp"
#include "bench/json_reading.hpp"
#include "bench/scenario.hpp"
#include "bench/scenario_keys.hpp"
#include "bench/statistics.hpp"

namespace migrate::bench {
namespace {

constexpr auto kGoalKeys = key_names(kGoalRows);
// The peers that a goal may be against: the installed QEMU, and QEMU 10.
constexpr std::array<std::string_view, 2> kPeers{"qemu", "qemu-10"};

std::string base_name(const Variant& variant) {
    return variant.name.substr(0, variant.name.size() - variant.point.suffix.size());
}

Error unknown_series(std::string_view key, const std::string& name,
                     const std::vector<Variant>& variants) {
    std::vector<std::string_view> names;
    for (const Variant& variant : variants) names.push_back(variant.name);
    return wrong("{}: '{}' is no variant and no baseline{}", key, name, suggestion(name, names));
}

const Variant* variant_of(const std::vector<Variant>& variants, std::string_view name) {
    const auto found = std::find_if(variants.begin(), variants.end(),
                                    [&](const Variant& each) { return each.name == name; });
    return found == variants.end() ? nullptr : &*found;
}

// The variants with that name, or all points of the sweep with that name.
Result<std::vector<const Variant*>> series_named(const std::string& name,
                                                 const std::vector<Variant>& variants) {
    if (const Variant* exact = variant_of(variants, name)) return std::vector{exact};
    std::vector<const Variant*> points;
    for (const Variant& variant : variants) {
        if (base_name(variant) == name) points.push_back(&variant);
    }
    if (points.empty()) return unknown_series("of", name, variants);
    return points;
}

// The name of the series that `of` is compared with: the same point, if it is a sweep's.
Result<std::string> compared_name(const std::string& name, const Variant& of,
                                  const std::vector<Variant>& variants) {
    if (std::find(kPeers.begin(), kPeers.end(), name) != kPeers.end()) {
        if (of.peer) return of.name + "-" + name;
        return wrong("against: QEMU does not run '{}': it is not marked \"peer\"", of.name);
    }
    const Variant* found = variant_of(variants, name);
    if (found == nullptr) found = variant_of(variants, name + of.point.suffix);
    if (found == nullptr) return unknown_series("against", name, variants);
    return found->name;
}

// The key of the published figure that this goal is about.
std::string published_key(const Goal& goal) {
    return goal.value == GoalValue::kP25 ? goal.figure + "-p25" : goal.figure;
}

Status find_published(Goal& goal, const std::vector<Variant>& variants) {
    const std::string key = published_key(goal);
    const auto value_of = [&](const std::string& name) {
        const Variant* variant = variant_of(variants, name);
        return variant == nullptr ? std::nullopt : published_figure(variant->published, key);
    };
    const auto value = value_of(goal.of.front());
    double whole = goal.against.empty() ? 1 : 0;
    for (const std::string& name : goal.against) whole += value_of(name).value_or(0);
    if (!value || whole <= 0) {
        return wrong("published-within: the variants of this goal have no published \"{}\"", key);
    }
    goal.published = *value / whole;
    return {};
}

Status check_limits(const Goal& goal) {
    const bool one_series = goal.at_most || goal.at_least || goal.published_within;
    if (!one_series && !goal.within) {
        return wrong("a goal needs a limit: at-most, at-least, within or published-within");
    }
    if (one_series && goal.within) {
        return wrong("within compares the series of the goal; it stands alone");
    }
    if (goal.within && *goal.within < 1) {
        return wrong("within: {} is less than 1, the ratio of equal values", *goal.within);
    }
    if (goal.at_most && goal.at_least && *goal.at_most < *goal.at_least) {
        return wrong("at-most {} is less than at-least {}", *goal.at_most, *goal.at_least);
    }
    return {};
}

Status read_figure_name(const Json& json, Goal& goal) {
    MIGRATE_TRY(read_text(json, "figure", goal.figure));
    if (goal.figure.empty()) return wrong("figure is missing: \"total-time\", \"downtime\", …");
    if (find_figure(goal.figure) != nullptr) return {};
    std::vector<std::string_view> names;
    for (const FigureRow& row : figure_rows()) names.push_back(row.name);
    return wrong("unknown figure '{}'{}", goal.figure, suggestion(goal.figure, names));
}

// The keys of a goal but its series.
Result<Goal> read_goal(const Json& json) {
    Goal goal;
    MIGRATE_TRY(check_object(json, "the goal", kGoalKeys));
    MIGRATE_TRY(read_figure_name(json, goal));
    std::string by = "median";
    MIGRATE_TRY(read_text(json, "by", by));
    const auto value = value_named<GoalValue>(by);
    if (!value) return wrong("by: '{}' is not one of {}", by, fmt::join(kNames<GoalValue>, ", "));
    goal.value = *value;
    MIGRATE_TRY(read_positive(json, "at-most", goal.at_most));
    MIGRATE_TRY(read_positive(json, "at-least", goal.at_least));
    MIGRATE_TRY(read_positive(json, "within", goal.within));
    MIGRATE_TRY(read_positive(json, "published-within", goal.published_within));
    MIGRATE_TRY(check_limits(goal));
    return goal;
}

Status add_goals(const Json& json, const std::vector<Variant>& variants, std::vector<Goal>& goals) {
    MIGRATE_ASSIGN(const Goal goal, read_goal(json));
    std::vector<std::string> of;
    std::vector<std::string> against;
    MIGRATE_TRY(read_texts(json, "of", of));
    MIGRATE_TRY(read_texts(json, "against", against));
    if (of.empty()) return wrong("of is missing: the variant that the goal is for");
    std::vector<const Variant*> series;
    for (const std::string& name : of) {
        MIGRATE_ASSIGN(const std::vector<const Variant*> found, series_named(name, variants));
        series.insert(series.end(), found.begin(), found.end());
    }
    if (goal.within) {
        if (series.size() < 2) return wrong("within needs two variants or more in of");
        if (!against.empty()) return wrong("within compares the series of the goal, not against");
        goals.push_back(goal);
        for (const Variant* variant : series) goals.back().of.push_back(variant->name);
        return {};
    }
    for (const Variant* variant : series) {
        Goal one = goal;
        one.of = {variant->name};
        for (const std::string& name : against) {
            MIGRATE_ASSIGN(std::string compared, compared_name(name, *variant, variants));
            one.against.push_back(std::move(compared));
        }
        if (one.published_within) MIGRATE_TRY(find_published(one, variants));
        goals.push_back(std::move(one));
    }
    return {};
}

Goal goal_from(const Json& json) {
    Goal goal;
    goal.figure = text_at(json, "figure");
    goal.value = value_named<GoalValue>(text_at(json, "by", "median")).value_or(GoalValue::kMedian);
    for (const auto& [key, to] : {std::pair("of", &goal.of), std::pair("against", &goal.against)})
        for (const Json& name : json.value(key, Json::array())) to->push_back(name);
    goal.at_most = number_at(json, {"at-most"});
    goal.at_least = number_at(json, {"at-least"});
    goal.within = number_at(json, {"within"});
    goal.published_within = number_at(json, {"published-within"});
    goal.published = number_at(json, {"published"}).value_or(0);
    return goal;
}

std::string goal_text(const Goal& goal) {
    std::string text =
        fmt::format("{} {} of {}", name_of(goal.value), goal.figure, fmt::join(goal.of, ", "));
    if (goal.against.empty()) return text;
    const bool sum = goal.against.size() > 1;
    return text +
           fmt::format(" ÷ {}{}{}", sum ? "(" : "", fmt::join(goal.against, " + "), sum ? ")" : "");
}

std::string capitalized(std::string_view word) {
    std::string text(word);
    if (!text.empty() && text.front() >= 'a' && text.front() <= 'z') {
        text.front() = static_cast<char>(text.front() - 'a' + 'A');
    }
    return text;
}

// The label of a variant; its name if it has none.
std::string label_of(const Json& scenario, const std::string& name) {
    for (const Json& variant : scenario.at("variants")) {
        if (text_at(variant, "name") == name) return text_at(variant, "label", name);
    }
    return name;
}

// "Median total time of 'into private memory' ÷ 'QEMU: into private memory'".
std::string goal_words(const Json& scenario, const Goal& goal) {
    const auto quoted = [&](const std::vector<std::string>& names, std::string_view between) {
        std::vector<std::string> labels;
        for (const std::string& name : names) {
            labels.push_back(fmt::format("'{}'", label_of(scenario, name)));
        }
        return fmt::format("{}", fmt::join(labels, between));
    };
    const FigureRow* row = find_figure(goal.figure);
    const std::string value =
        goal.value == GoalValue::kP25 ? "25th percentile of the" : capitalized(name_of(goal.value));
    std::string text = fmt::format("{} {} of {}", value,
                                   row == nullptr ? std::string_view(goal.figure) : row->words,
                                   quoted(goal.of, ", "));
    if (goal.against.empty()) return text;
    return text + " ÷ " + quoted(goal.against, " + ");
}

std::string wanted_text(const Goal& goal) {
    const FigureRow* row = find_figure(goal.figure);
    const bool plain = !goal.against.empty() || row == nullptr || row->unit.empty();
    const std::string unit = plain ? "" : fmt::format(" {}", row->unit);
    std::vector<std::string> limits;
    if (goal.at_least) limits.push_back(fmt::format("at least {}{}", *goal.at_least, unit));
    if (goal.at_most) limits.push_back(fmt::format("at most {}{}", *goal.at_most, unit));
    if (goal.within) limits.push_back(fmt::format("largest ÷ smallest at most {}", *goal.within));
    if (goal.published_within) {
        limits.push_back(fmt::format("within {:g} % of the published {}{}",
                                     *goal.published_within * 100, short_number(goal.published),
                                     unit));
    }
    return fmt::format("{}", fmt::join(limits, ", "));
}

// The value that stands for the series of that name, or why there is none.
Result<double> value_of(const Json& scenario, const std::string& name, const Goal& goal) {
    const std::vector<double> values = series(scenario, name, goal.figure);
    if (values.empty()) {
        for (const Json& variant : scenario.at("variants")) {
            if (text_at(variant, "name") != name) continue;
            if (variant.contains("skipped"))
                return make_error("{}: skipped: {}", name, text_at(variant, "skipped"));
            return timed_runs(scenario, name).empty()
                       ? make_error("{}: no run succeeded", name)
                       : make_error("{}: its runs have no {}", name, goal.figure);
        }
        return make_error("{}: did not run; --peer qemu runs it", name);
    }
    const FigureRow* row = find_figure(goal.figure);
    const bool more_is_better = row != nullptr && row->more_is_better;
    switch (goal.value) {
        case GoalValue::kMedian:
            return median(values);
        case GoalValue::kP25:
            return percentile(values, 25);
        case GoalValue::kBest:
            return percentile(values, more_is_better ? 100 : 0);
        case GoalValue::kWorst:
            return percentile(values, more_is_better ? 0 : 100);
    }
    return make_error("unknown value");
}

Result<std::vector<double>> values_of(const Json& scenario, const std::vector<std::string>& names,
                                      const Goal& goal) {
    std::vector<double> values;
    for (const std::string& name : names) {
        MIGRATE_ASSIGN(const double value, value_of(scenario, name, goal));
        values.push_back(value);
    }
    return values;
}

bool is_met(const Goal& goal, double value) {
    if (goal.within) return value <= *goal.within;
    const bool near_published =
        !goal.published_within ||
        std::abs(value - goal.published) <= *goal.published_within * goal.published;
    return near_published && (!goal.at_most || value <= *goal.at_most) &&
           (!goal.at_least || value >= *goal.at_least);
}

// The first limit of a goal for a value; 1 if that is 0.
double limit_of(const Goal& goal) {
    const double limit = goal.at_most.value_or(goal.at_least.value_or(goal.published));
    return limit > 0 ? limit : 1;
}

// " by QEMU 10.0.2" if a peer ran one of these series.
std::string peer_text(const Json& scenario, const std::vector<std::string>& names) {
    for (const std::string& name : names) {
        const std::string version = peer_version(scenario, name);
        if (!version.empty()) return " by " + version;
    }
    return "";
}

// Sets state and found.
Status judge_goal(const Json& scenario, const Goal& goal, Verdict& verdict) {
    const FigureRow* row = find_figure(goal.figure);
    const std::string unit =
        row == nullptr || row->unit.empty() ? "" : fmt::format(" {}", row->unit);
    MIGRATE_ASSIGN(const std::vector<double> values, values_of(scenario, goal.of, goal));
    MIGRATE_ASSIGN(const std::vector<double> others, values_of(scenario, goal.against, goal));
    if (values.empty()) return make_error("it names no variant");
    double value = values.front();
    double divisor = 1;
    if (goal.within) {
        value = *std::max_element(values.begin(), values.end());
        divisor = *std::min_element(values.begin(), values.end());
    } else if (!others.empty()) {
        divisor = std::accumulate(others.begin(), others.end(), 0.0);
    }
    if (divisor <= 0) return make_error("it would be divided by 0");
    const bool ratio = goal.within || !others.empty();
    verdict.found =
        ratio ? fmt::format("{} ({} ÷ {}{}{})", short_number(value / divisor), short_number(value),
                            short_number(divisor), unit, peer_text(scenario, goal.against))
              : short_number(value) + unit;
    verdict.ratio = ratio ? value / divisor : value / limit_of(goal);
    verdict.state = is_met(goal, value / divisor) ? Verdict::State::kMet : Verdict::State::kMissed;
    return {};
}

}  // namespace

std::string short_number(double value) {
    return value < 10 ? fmt::format("{:.3g}", value) : fmt::format("{:.1f}", value);
}

std::string_view word_of(Verdict::State state) {
    constexpr std::array<std::string_view, 3> kWords{"met", "missed", "not judged"};
    return kWords[static_cast<std::size_t>(state)];
}

Json Goal::json() const {
    Json goal = {{"figure", figure}, {"by", std::string(name_of(value))}, {"of", of}};
    if (!against.empty()) goal["against"] = against;
    if (at_most) goal["at-most"] = *at_most;
    if (at_least) goal["at-least"] = *at_least;
    if (within) goal["within"] = *within;
    if (published_within) {
        goal["published-within"] = *published_within;
        goal["published"] = published;
    }
    return goal;
}

Result<std::vector<Goal>> parse_goals(const Json& scenario, const std::vector<Variant>& variants) {
    std::vector<Goal> goals;
    const auto list = scenario.find("goals");
    if (list == scenario.end()) return goals;
    if (!list->is_array() || list->empty() || list->size() > kMaxGoals) {
        return wrong("goals is no list of 1 to {}", kMaxGoals);
    }
    for (std::size_t i = 0; i < list->size(); ++i) {
        Status added = add_goals((*list)[i], variants, goals);
        if (!added) return std::move(added).error().with_context(fmt::format("goal {}", i + 1));
    }
    return goals;
}

std::vector<Verdict> judge(const Json& scenario) {
    std::vector<Verdict> verdicts;
    for (const Json& json : scenario.value("goals", Json::array())) {
        const Goal goal = goal_from(json);
        Verdict verdict{.goal = goal_text(goal),
                        .words = goal_words(scenario, goal),
                        .wanted = wanted_text(goal),
                        .found = ""};
        const Status judged = judge_goal(scenario, goal, verdict);
        if (!judged) verdict.found = judged.error().message();
        verdicts.push_back(std::move(verdict));
    }
    return verdicts;
}

}  // namespace migrate::bench
