#include "bench/charts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>

#include "bench/figures.hpp"
#include "bench/statistics.hpp"

namespace migrate::bench {
namespace {

// Distinct on a white and on a black page.
constexpr std::array<const char*, 12> kColours{"#3b82c4", "#e08a2e", "#3fa36b", "#c75b58",
                                               "#8f6fc4", "#4aa8b5", "#b58a4f", "#c46fa0",
                                               "#93953d", "#7b8794", "#5f74d6", "#d0a93a"};
constexpr std::size_t kLongestLabel = 46;

// Quotes text for a script, shortened and without the characters that gnuplot interprets.
std::string quoted(std::string text) {
    if (text.size() > kLongestLabel) {
        std::size_t end = kLongestLabel;
        while ((static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
        text = text.substr(0, end) + "…";
    }
    // gnuplot runs backticks in double quotes; in single quotes nothing is special.
    for (char& c : text) {
        if (c == '\'' || c == '"' || c == '`' || c == '\\' || c == '\n') c = ' ';
    }
    return '\'' + text + '\'';
}

std::string colour(std::size_t index) { return kColours[index % kColours.size()]; }

// The same thread has the same colour in every chart.
std::string thread_colour(const std::string& name) {
    constexpr std::string_view kChannel = "multifdsend_";
    if (name == "live_migration") return colour(0);
    if (name == "dsa_completion") return colour(kColours.size() - 1);
    if (!name.starts_with(kChannel)) return "#9a9a9a";
    return colour(1 + static_cast<std::size_t>(std::atoi(name.c_str() + kChannel.size())));
}

// Grid, borders and room for the legend; grey shows on either background.
std::string look() {
    return "set border 3 lc rgb '#8a8a8a'\nset tics nomirror\nset grid ytics lc rgb '#8a8a8a' lw "
           "0.5 dt 3\n"
           "set key outside right top noenhanced\nset yrange [0:*]\n";
}

// Horizontal bars: labels of any length fit, and each bar shows its figure.
struct Bar {
    std::string label;
    double value;
    std::size_t colour;
};

Chart bar_chart(std::string title, const std::string& unit, const std::vector<Bar>& bars,
                const std::vector<std::string>& legend) {
    std::string data = "$bars << EOD\n";
    std::string tics;
    double most = 0;
    for (std::size_t i = 0; i < bars.size(); ++i) {
        const std::size_t row = bars.size() - 1 - i;
        data += fmt::format("{} {} {}\n", bars[i].value, row, bars[i].colour);
        tics += fmt::format("{}{} {}", i == 0 ? "" : ", ", quoted(bars[i].label), row);
        most = std::max(most, bars[i].value);
    }
    std::string script = data + "EOD\n";
    script += fmt::format(
        "set border 2 lc rgb '#8a8a8a'\nset xtics nomirror\nset grid xtics lc rgb '#8a8a8a' lw 0.5 "
        "dt 3\n"
        "set key outside top center horizontal noenhanced\nset xlabel {}\nset xrange "
        "[0:{}]\nset yrange "
        "[-0.6:{}]\n"
        "set ytics ({}) nomirror scale 0\nset style fill solid 1.0 noborder\n",
        quoted(unit), most > 0 ? most * 1.18 : 1, static_cast<double>(bars.size()) - 0.4, tics);
    script += "plot ";
    for (std::size_t kind = 0; kind < legend.size(); ++kind) {
        // A kind without bars has no legend.
        if (std::ranges::find(bars, kind, &Bar::colour) == bars.end()) continue;
        script += fmt::format(
            "$bars using ($3=={0} ? 0 : NaN):2:(0):1:($2-0.36):($2+0.36) with boxxyerror lc rgb "
            "'{1}' "
            "title {2}, ",
            kind, colour(kind), quoted(legend[kind]));
    }
    script += "$bars using 1:2:(sprintf(' %.4g', $1)) with labels left offset 0.3,0 notitle\n";
    return {std::move(title), std::move(script), 860, 130 + 30 * static_cast<int>(bars.size())};
}

// The kinds of bars; the value is also the index of the colour.
enum Kind : std::size_t { kPublished, kMeasured, kPeer };
const std::vector<std::string> kKinds{"published", "measured here", "QEMU, measured here"};

std::optional<double> published_speed(const Json& variant) {
    if (!variant.contains("published")) return std::nullopt;
    const Json& published = variant["published"];
    if (const auto speed = published_figure(published, "gb-per-s")) return speed;
    const auto ms = published_figure(published, "total-time");
    const auto kb = published_figure(published, "total-kb");
    if (!ms || !kb || *ms <= 0) return std::nullopt;
    return *kb / 1048576 / *ms * 1e3;
}

void add_speed(const Json& scenario, std::vector<Chart>& charts) {
    std::vector<Bar> bars;
    for (const Json& variant : scenario.at("variants")) {
        if (const auto speed = published_speed(variant))
            bars.push_back({text_at(variant, "name") + ", published", *speed, kPublished});
        const auto values = series(scenario, text_at(variant, "name"), "gb-per-s");
        if (values.empty()) continue;
        bars.push_back({text_at(variant, "label"), median(values),
                        flag_at(variant, "peer") ? kPeer : kMeasured});
    }
    if (bars.empty()) return;
    charts.push_back(
        bar_chart("Guest memory dealt with a second", "GB/s (of 2³⁰ bytes)", bars, kKinds));
}

void add_threads(const std::vector<std::pair<std::string, ThreadMs>>& columns, std::string title,
                 std::vector<Chart>& charts) {
    if (columns.empty()) return;
    std::vector<std::string> names;
    for (const auto& [label, threads] : columns) {
        for (const auto& [name, ms] : threads) {
            if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
        }
    }
    std::string data = "$threads << EOD\n";
    for (const auto& [label, threads] : columns) {
        // In data, double quotes hold a text together.
        std::string text = quoted(label);
        text.front() = text.back() = '"';
        data += text;
        for (const std::string& name : names) {
            const auto found =
                std::find_if(threads.begin(), threads.end(),
                             [&](const auto& thread) { return thread.first == name; });
            data += fmt::format(" {}", found == threads.end() ? 0.0 : found->second);
        }
        data += '\n';
    }
    std::string script = data + "EOD\n" + look() +
                         "set style data histogram\nset style histogram rowstacked\n"
                         "set style fill solid 1.0 noborder\nset boxwidth 0.6\n"
                         "set ylabel 'CPU run time, ms'\nset xtics rotate by -12 scale 0\nplot ";
    for (std::size_t i = 0; i < names.size(); ++i) {
        script += fmt::format("{}$threads using {}{} title '{}' lc rgb '{}'", i == 0 ? "" : ", ",
                              i + 2, i == 0 ? ":xtic(1)" : "", names[i], thread_colour(names[i]));
    }
    charts.push_back({std::move(title), script + '\n', 860, 440});
}

void add_thread_charts(const Json& scenario, std::vector<Chart>& charts) {
    std::vector<std::pair<std::string, ThreadMs>> published;
    std::vector<std::pair<std::string, ThreadMs>> measured;
    for (const Json& variant : scenario.at("variants")) {
        if (variant.contains("published")) {
            ThreadMs threads = threads_published(variant["published"]);
            if (!threads.empty())
                published.emplace_back(text_at(variant, "name"), std::move(threads));
        }
        const Json* run = median_run(scenario, text_at(variant, "name"));
        if (run != nullptr && !flag_at(variant, "peer"))
            measured.emplace_back(text_at(variant, "label"), threads_of_run(*run));
    }
    add_threads(published, "Threads of the sender, published", charts);
    add_threads(measured, "Threads of the sender, measured here", charts);
}

// A line of (x, y) points.
struct Line {
    std::string title;
    std::vector<std::pair<double, double>> points;
};

void add_lines(const std::vector<Line>& lines, std::string title, const std::string& x_label,
               const std::string& y_label, std::string_view style, std::string_view extra,
               std::vector<Chart>& charts) {
    std::string script;
    std::string plots;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        if (lines[i].points.empty()) continue;
        script += fmt::format("$line{} << EOD\n", i);
        for (const auto& [x, y] : lines[i].points) script += fmt::format("{} {}\n", x, y);
        script += "EOD\n";
        plots +=
            fmt::format("{}$line{} using 1:2 with {} lw 2 pt 7 ps 0.6 lc rgb '{}' title {}",
                        plots.empty() ? "" : ", ", i, style, colour(i), quoted(lines[i].title));
    }
    if (plots.empty()) return;
    script += look() + fmt::format("set xlabel {}\nset ylabel {}\n{}plot {}\n", quoted(x_label),
                                   quoted(y_label), extra, plots);
    charts.push_back({std::move(title), std::move(script), 860, 380});
}

void add_axis(const Json& scenario, std::string_view figure_name, const std::string& title,
              const std::string& y_label, std::vector<Chart>& charts) {
    std::vector<Line> lines{{kKinds[kPublished], {}}, {kKinds[kMeasured], {}}, {kKinds[kPeer], {}}};
    for (const Json& variant : scenario.at("variants")) {
        if (!variant.contains("x")) continue;
        const double x = variant["x"].get<double>();
        if (const auto speed = published_speed(variant); speed && figure_name == "gb-per-s")
            lines[kPublished].points.emplace_back(x, *speed);
        const auto values = series(scenario, text_at(variant, "name"), figure_name);
        if (!values.empty())
            lines[flag_at(variant, "peer") ? kPeer : kMeasured].points.emplace_back(x,
                                                                                    median(values));
    }
    std::size_t longest = 0;
    for (Line& line : lines) {
        std::sort(line.points.begin(), line.points.end());
        longest = std::max(longest, line.points.size());
    }
    if (longest < 2) return;
    const bool positive = std::all_of(lines.begin(), lines.end(), [](const Line& line) {
        return line.points.empty() || line.points.front().first >= 1;
    });
    add_lines(lines, title, text_at(scenario, "x-label", "x"), y_label, "linespoints",
              positive ? "set logscale x 2\n" : "", charts);
}

void add_distributions(const Json& scenario, std::vector<Chart>& charts) {
    std::vector<Line> lines;
    for (const Json& variant : scenario.at("variants")) {
        auto values = series(scenario, text_at(variant, "name"), "downtime");
        if (values.size() < 2) continue;
        std::sort(values.begin(), values.end());
        Line line{text_at(variant, "label"), {}};
        for (std::size_t i = 0; i < values.size(); ++i) {
            const double below =
                static_cast<double>(i) / static_cast<double>(values.size() - 1) * 100;
            line.points.emplace_back(values[i], below);
        }
        lines.push_back(std::move(line));
    }
    add_lines(lines, "Downtime: how many runs stayed below", "downtime, ms", "% of the runs",
              "lines", "set yrange [0:100]\n", charts);
}

void add_downtimes(const Json& scenario, std::vector<Chart>& charts) {
    std::vector<Bar> bars;
    for (const Json& variant : scenario.at("variants")) {
        const auto values = series(scenario, text_at(variant, "name"), "downtime");
        if (!values.empty()) bars.push_back({text_at(variant, "label"), median(values), 0});
    }
    if (!bars.empty())
        charts.push_back(bar_chart("Downtime", "ms", bars, {"measured here, median"}));
}

}  // namespace

std::vector<Chart> charts_of(const Json& scenario) {
    std::vector<Chart> charts;
    bool speed = false;
    bool downtime = false;
    for (const Json& table : scenario.at("tables")) {
        if (table == "threads") add_thread_charts(scenario, charts);
        speed = speed || table == "latency" || table == "throughput";
        downtime = downtime || table == "live" || table == "percentiles";
    }
    if (speed) {
        add_speed(scenario, charts);
        add_axis(scenario, "gb-per-s", "Guest memory a second", "GB/s", charts);
    }
    if (downtime) {
        add_downtimes(scenario, charts);
        add_axis(scenario, "downtime", "Downtime", "ms", charts);
        add_axis(scenario, "total-time", "Total time", "ms", charts);
        add_distributions(scenario, charts);
    }
    return charts;
}

}  // namespace migrate::bench
