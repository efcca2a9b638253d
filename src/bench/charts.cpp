// SPDX-License-Identifier: Apache-2.0
#include "bench/charts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include "bench/figures.hpp"
#include "bench/plotting.hpp"
#include "bench/statistics.hpp"

namespace migrate::bench {
namespace {

using Charts = std::vector<Chart>;

constexpr std::string_view kSpreadWords = "median, and least to largest value";

Kind kind_of(const Json& variant) {
    if (flag_at(variant, "peer")) return Kind::kPeer;
    return variant.contains("baseline") ? Kind::kBaseline : Kind::kOurs;
}

std::optional<double> published_of(const Json& variant, std::string_view name) {
    if (!variant.contains("published")) return std::nullopt;
    const Json& published = variant["published"];
    if (const auto value = published_figure(published, name); value || name != "gb-per-s") {
        return value;
    }
    const auto ms = published_figure(published, "total-time");
    const auto kb = published_figure(published, "total-kb");
    if (!ms || !kb || *ms <= 0) return std::nullopt;
    return *kb / 1048576 / *ms * 1e3;
}

// The bars of a figure: for each variant the published value, and the measured one. `value` makes
// the one that stands for a series.
template <typename Value>
std::vector<BarGroup> groups_of(const Json& scenario, const char* figure_name,
                                const char* published_name, Value value) {
    std::vector<BarGroup> groups;
    for (const Json& variant : scenario.at("variants")) {
        BarGroup group{text_at(variant, "label"), {}};
        const auto values = series(scenario, text_at(variant, "name"), figure_name);
        if (!values.empty()) {
            Spread spread = spread_of(values);
            spread.value = value(values);
            group.bars.push_back({kind_of(variant), false, spread});
        }
        if (const auto published = published_of(variant, published_name)) {
            group.bars.push_back({kind_of(variant), true, {*published, *published, *published}});
        }
        if (!group.bars.empty()) groups.push_back(std::move(group));
    }
    return groups;
}

void add_speed(const Json& scenario, PageWidth width, Charts& charts) {
    const auto groups = groups_of(scenario, "gb-per-s", "gb-per-s", median);
    if (groups.empty()) return;
    charts.push_back(bar_chart(
        fmt::format("Guest memory moved a second in GiB/s: {}", kSpreadWords), groups, width));
}

void add_thread_charts(const Json& scenario, PageWidth width, Charts& charts) {
    std::vector<Stack> published;
    std::vector<Stack> measured;
    for (const Json& variant : scenario.at("variants")) {
        if (variant.contains("published")) {
            ThreadMs threads = threads_published(variant["published"]);
            if (!threads.empty())
                published.push_back({text_at(variant, "label"), std::move(threads)});
        }
        const Json* run = median_run(scenario, text_at(variant, "name"));
        if (run != nullptr && kind_of(variant) == Kind::kOurs)
            measured.push_back({text_at(variant, "label"), threads_of_run(*run)});
    }
    for (auto& [stacks, title] :
         {std::pair(&published,
                    "CPU time of the sender's threads in ms, published on another machine"),
          {&measured, "CPU time of the sender's threads in ms, measured here"}}) {
        if (stacks->empty()) continue;
        charts.push_back(stack_chart(title, *stacks, width));
    }
}

struct Axis {
    const char* figure;
    const char* title;
    const char* unit;
};

// A line for each kind over the variants' x.
void add_axis(const Json& scenario, const Axis& axis, PageWidth width, Charts& charts) {
    LineChart chart{.title = axis.title,
                    .x_label = text_at(scenario, "x-label", "x"),
                    .y_label = axis.unit,
                    .style = LineStyle::kPoints,
                    .settings = "",
                    .lines = {}};
    const auto add = [&](const Json& variant, bool published, const Spread& spread) {
        const std::string title = series_title(kind_of(variant), published);
        auto line = std::find_if(chart.lines.begin(), chart.lines.end(),
                                 [&](const Line& each) { return each.title == title; });
        if (line == chart.lines.end()) {
            chart.lines.push_back({title, kind_colour(kind_of(variant)), published, {}});
            line = std::prev(chart.lines.end());
        }
        line->points.emplace_back(variant["x"].get<double>(), spread);
    };
    for (const Json& variant : scenario.at("variants")) {
        if (!variant.contains("x")) continue;
        if (const auto value = published_of(variant, axis.figure)) {
            add(variant, true, {*value, *value, *value});
        }
        const auto values = series(scenario, text_at(variant, "name"), axis.figure);
        if (!values.empty()) add(variant, false, spread_of(values));
    }
    std::size_t longest = 0;
    bool positive = true;
    for (Line& line : chart.lines) {
        std::sort(line.points.begin(), line.points.end(),
                  [](const auto& a, const auto& b) { return a.first < b.first; });
        longest = std::max(longest, line.points.size());
        positive = positive && line.points.front().first >= 1;
    }
    if (longest < 2) return;
    if (positive) chart.settings = "set logscale x 2\n";
    charts.push_back(line_chart(chart, width));
}

// The part of the runs that took at most a time, as steps.
void add_distributions(const Json& scenario, PageWidth width, Charts& charts) {
    LineChart chart{.title = "Downtime: part of the runs that took at most this long",
                    .x_label = "downtime, ms",
                    .y_label = "% of the runs",
                    .style = LineStyle::kSteps,
                    .settings = "set yrange [0:100]\n",
                    .lines = {}};
    for (const Json& variant : scenario.at("variants")) {
        auto values = series(scenario, text_at(variant, "name"), "downtime");
        if (values.size() < 2) continue;
        std::sort(values.begin(), values.end());
        Line line{text_at(variant, "label"), colour_at(chart.lines.size()), false, {}};
        const auto add = [&](double x, double percent) {
            line.points.emplace_back(x, Spread{percent, percent, percent});
        };
        add(values.front(), 0);
        for (std::size_t i = 0; i < values.size(); ++i) {
            add(values[i], static_cast<double>(i + 1) / static_cast<double>(values.size()) * 100);
        }
        chart.lines.push_back(std::move(line));
    }
    if (!chart.lines.empty()) charts.push_back(line_chart(chart, width));
}

void add_downtimes(const Json& scenario, bool percentiles, PageWidth width, Charts& charts) {
    const auto groups = percentiles
                            ? groups_of(scenario, "downtime", "downtime-p25",
                                        [](const auto& values) { return percentile(values, 25); })
                            : groups_of(scenario, "downtime", "downtime", median);
    if (groups.empty()) return;
    charts.push_back(bar_chart(percentiles
                                   ? "Downtime in ms: 25th percentile, and least to largest value"
                                   : fmt::format("Downtime in ms: {}", kSpreadWords),
                               groups, width));
}

}  // namespace

std::vector<Chart> charts_of(const Json& scenario, PageWidth width) {
    Charts charts;
    bool speed = false;
    bool downtime = false;
    bool percentiles = false;
    for (const Json& table : scenario.at("tables")) {
        if (table == "threads") add_thread_charts(scenario, width, charts);
        speed = speed || table == "latency" || table == "throughput";
        percentiles = percentiles || table == "percentiles";
        downtime = downtime || table == "live" || percentiles;
    }
    if (speed) {
        add_speed(scenario, width, charts);
        add_axis(scenario, {"gb-per-s", "Guest memory moved a second", "GiB/s"}, width, charts);
    }
    if (downtime) {
        add_downtimes(scenario, percentiles, width, charts);
        add_axis(scenario, {"downtime", "Downtime", "ms"}, width, charts);
        add_axis(scenario, {"total-time", "Total time", "ms"}, width, charts);
        add_distributions(scenario, width, charts);
    }
    return charts;
}

}  // namespace migrate::bench
