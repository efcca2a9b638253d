// SPDX-License-Identifier: Apache-2.0
#include "bench/plotting.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "bench/statistics.hpp"

namespace migrate::bench {
namespace {

// Distinct on a white and on a black page.
constexpr std::array<const char*, 12> kColours{"#3b82c4", "#e08a2e", "#3fa36b", "#c75b58",
                                               "#8f6fc4", "#4aa8b5", "#b58a4f", "#c46fa0",
                                               "#93953d", "#7b8794", "#5f74d6", "#d0a93a"};
constexpr std::array<const char*, 3> kKindNames{"migrate", "QEMU", "baseline"};
// Grey shows on either background.
constexpr const char* kGrey = "#8a8a8a";
constexpr int kWideWidth = 860;
constexpr int kNarrowWidth = 330;

int width_of(PageWidth width) { return width == PageWidth::kWide ? kWideWidth : kNarrowWidth; }

// Quotes text for a script, shortened and without the characters that gnuplot interprets.
std::string quoted(std::string text, std::size_t longest = 46) {
    if (text.size() > longest) {
        std::size_t end = longest;
        while ((static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
        text = text.substr(0, end) + "…";
    }
    // gnuplot runs backticks in double quotes; in single quotes nothing is special.
    for (char& c : text) {
        if (c == '\'' || c == '"' || c == '`' || c == '\\' || c == '\n') c = ' ';
    }
    return '\'' + text + '\'';
}

// The same thread has the same colour in every chart.
std::string part_colour(const std::string& name) {
    constexpr std::string_view kChannel = "multifdsend_";
    if (name == "live_migration") return colour_at(0);
    if (name == "dsa_completion") return colour_at(kColours.size() - 1);
    if (!name.starts_with(kChannel)) return "#9a9a9a";
    return colour_at(1 + static_cast<std::size_t>(std::atoi(name.c_str() + kChannel.size())));
}

// A step of the x axis of which at most `count` fit below `most`: 1, 2 or 5 times a power of ten.
double tic_step(double most, double count) {
    if (most <= 0) return 1;
    const double rough = most / count;
    const double power = std::pow(10, std::floor(std::log10(rough)));
    for (const double step : {1.0, 2.0, 5.0}) {
        if (step * power >= rough) return step * power;
    }
    return 10 * power;
}

// Rows of bars with their labels: beside the bars, or above them on a narrow page. A row is a unit
// of the y axis, and the first one is at the top.
class Rows {
  public:
    Rows(PageWidth width, std::size_t rows) : narrow_(width == PageWidth::kNarrow), rows_(rows) {}

    // The label of the rows from `first` on.
    void add_label(const std::string& label, double first, std::size_t count) {
        const double middle = first + (static_cast<double>(count) - 1) / 2;
        if (narrow_) {
            labels_ += fmt::format("set label {} at graph 0, first {} left\n", quoted(label, 44),
                                   -(first - 0.78));
        } else {
            labels_ += fmt::format("{}{} {}", labels_.empty() ? "" : ", ", quoted(label), -middle);
        }
    }
    // Rows that a label takes for itself.
    std::size_t label_rows() const { return narrow_ ? 1 : 0; }

    // Axes for values up to `most`, with room for the figure behind the longest bar.
    std::string axes(double most) const {
        std::string script = fmt::format(
            "set border 2 lc rgb '{0}'\nset xtics {3} nomirror\nset grid xtics lc rgb '{0}' lw 0.5 "
            "dt 3\nset xrange [0:{1}]\nset yrange [{2}:0.7]\n"
            "unset key\n",
            kGrey, most > 0 ? most * (narrow_ ? 1.3 : 1.15) : 1,
            -(static_cast<double>(rows_) - 0.3), tic_step(most, narrow_ ? 4 : 6));
        if (narrow_) return script + "unset ytics\nset lmargin 1\nset rmargin 2\n" + labels_;
        return script + fmt::format("set ytics ({}) nomirror scale 0\n", labels_);
    }

    int height(int extra) const { return extra + (narrow_ ? 24 : 30) * static_cast<int>(rows_); }

  private:
    bool narrow_;
    std::size_t rows_;
    std::string labels_;
};

LegendEntry legend_of(Kind kind, bool published) {
    return {series_title(kind, published), kind_colour(kind),
            published ? LegendEntry::Mark::kLight : LegendEntry::Mark::kFull};
}

void add_once(std::vector<LegendEntry>& legend, LegendEntry entry) {
    const auto same = [&](const LegendEntry& each) { return each.text == entry.text; };
    if (std::none_of(legend.begin(), legend.end(), same)) legend.push_back(std::move(entry));
}

// One bar of a data block with the columns value and row.
std::string bar_plot(std::size_t block, const Bar& bar) {
    const std::string colour = kind_colour(bar.kind);
    const std::string fill = bar.published
                                 ? fmt::format("transparent solid 0.3 border lc rgb '{}'", colour)
                                 : "solid 1.0 noborder";
    return fmt::format(
        "$bar{} using (0):2:(0):1:($2-0.38):($2+0.38) with boxxyerror fs {} lc rgb '{}', ", block,
        fill, colour);
}

// Shows each value of a block with the columns value, row and place.
std::string value_plot(std::string_view block) {
    return fmt::format("${} using 3:2:(sprintf(' %.4g', $1)) with labels left offset 0.3,0\n",
                       block);
}

// The parts' names of all stacks, in the order in which they come.
std::vector<std::string> part_names(const std::vector<Stack>& stacks) {
    std::vector<std::string> names;
    for (const Stack& stack : stacks) {
        for (const auto& [name, value] : stack.parts) {
            if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
        }
    }
    return names;
}

// Data and plot of one line.
struct LinePlot {
    std::string data;
    std::string plot;
};
LinePlot line_plot(std::size_t block, const Line& line, LineStyle style) {
    LinePlot made{fmt::format("$line{} << EOD\n", block), ""};
    bool spreads = false;
    for (const auto& [x, spread] : line.points) {
        made.data += fmt::format("{} {} {} {}\n", x, spread.value, spread.least, spread.most);
        spreads = spreads || spread.least < spread.most;
    }
    made.data += "EOD\n";
    made.plot = fmt::format("$line{} using 1:2 with {} lw 2 pt 7 ps 0.6 lc rgb '{}'{}", block,
                            style == LineStyle::kSteps ? "steps" : "linespoints", line.colour,
                            line.published ? " dt 2" : "");
    if (spreads && style != LineStyle::kSteps) {
        // Not yerrorbars, which gnuplot 5.4 draws over white discs.
        made.plot += fmt::format(
            ", $line{} using 1:3:(0):($4-$3) with vectors heads size screen 0.006,90 fixed lw 1.4 "
            "lc rgb '{}'",
            block, line.colour);
    }
    return made;
}

}  // namespace

std::string series_title(Kind kind, bool published) {
    if (published) return "published, another machine";
    return fmt::format("{}, measured here", kKindNames.at(static_cast<std::size_t>(kind)));
}

std::string colour_at(std::size_t index) { return kColours.at(index % kColours.size()); }
std::string kind_colour(Kind kind) { return colour_at(static_cast<std::size_t>(kind)); }

Spread spread_of(const std::vector<double>& values) {
    if (values.empty()) return {};
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    return {median(values), *least, *most};
}

Chart bar_chart(std::string title, const std::vector<BarGroup>& groups, PageWidth width) {
    Chart chart{.title = std::move(title), .script = "", .width = width_of(width)};
    const std::size_t own = Rows(width, 0).label_rows();
    std::size_t count = 0;
    for (const BarGroup& group : groups) count += group.bars.size() + own;
    Rows rows(width, count);
    std::string values = "$values << EOD\n";
    std::string spreads;
    std::string plots;
    double most = 0;
    std::size_t row = 0;
    for (const BarGroup& group : groups) {
        row += own;
        rows.add_label(group.label, static_cast<double>(row), group.bars.size());
        for (const Bar& bar : group.bars) {
            const double y = -static_cast<double>(row);
            const auto& [value, least, largest] = bar.spread;
            chart.script += fmt::format("$bar{} << EOD\n{} {}\nEOD\n", row, value, y);
            values += fmt::format("{} {} {}\n", value, y, largest);
            if (least < largest) spreads += fmt::format("{} {} {} {}\n", value, y, least, largest);
            plots += bar_plot(row, bar);
            add_once(chart.legend, legend_of(bar.kind, bar.published));
            most = std::max(most, largest);
            ++row;
        }
    }
    if (!spreads.empty()) {
        chart.script += "$spreads << EOD\n" + spreads + "EOD\n";
        plots += "$spreads using 1:2:3:4 with xerrorbars pt -1 lw 1.4 lc rgb 'black', ";
    }
    chart.script += values + "EOD\n" + rows.axes(most) + "plot " + plots + value_plot("values");
    chart.height = rows.height(50);
    return chart;
}

Chart stack_chart(std::string title, const std::vector<Stack>& stacks, PageWidth width) {
    Chart chart{.title = std::move(title), .script = "", .width = width_of(width)};
    const std::size_t own = Rows(width, 0).label_rows();
    Rows rows(width, stacks.size() * (1 + own));
    const auto row_of = [&](std::size_t stack) {
        return static_cast<double>(stack * (1 + own) + own);
    };
    std::vector<double> ends(stacks.size(), 0);
    std::string plots;
    for (const std::string& name : part_names(stacks)) {
        const std::size_t part = chart.legend.size();
        chart.legend.push_back({name, part_colour(name), LegendEntry::Mark::kFull});
        chart.script += fmt::format("$part{} << EOD\n", part);
        for (std::size_t i = 0; i < stacks.size(); ++i) {
            for (const auto& [own_name, value] : stacks[i].parts) {
                if (own_name != name) continue;
                chart.script += fmt::format("{} {} {}\n", ends[i], ends[i] + value, -row_of(i));
                ends[i] += value;
            }
        }
        chart.script += "EOD\n";
        plots += fmt::format(
            "$part{} using 1:3:1:2:($3-0.38):($3+0.38) with boxxyerror fs solid 1.0 noborder lc "
            "rgb '{}', ",
            part, part_colour(name));
    }
    chart.script += "$sums << EOD\n";
    double most = 0;
    for (std::size_t i = 0; i < stacks.size(); ++i) {
        rows.add_label(stacks[i].label, row_of(i), 1);
        chart.script += fmt::format("{0} {1} {0}\n", ends[i], -row_of(i));
        most = std::max(most, ends[i]);
    }
    chart.script += "EOD\n" + rows.axes(most) + "plot " + plots + value_plot("sums");
    chart.height = rows.height(50);
    return chart;
}

Chart line_chart(const LineChart& lines, PageWidth width) {
    Chart chart{.title = lines.title,
                .script = "",
                .width = width_of(width),
                .height = width == PageWidth::kNarrow ? 260 : 340};
    std::string plots;
    for (const Line& line : lines.lines) {
        if (line.points.empty()) continue;
        const LinePlot made = line_plot(chart.legend.size(), line, lines.style);
        chart.script += made.data;
        plots += (plots.empty() ? "" : ", ") + made.plot;
        add_once(chart.legend,
                 {line.title, line.colour,
                  line.published ? LegendEntry::Mark::kDashes : LegendEntry::Mark::kLine});
    }
    chart.script += fmt::format(
        "set border 3 lc rgb '{0}'\nset tics nomirror\nset grid ytics lc rgb '{0}' lw 0.5 dt 3\n"
        "unset key\nset yrange [0:*]\nset xlabel {1}\nset ylabel "
        "{2}\n{3}plot {4}\n",
        kGrey, quoted(lines.x_label), quoted(lines.y_label), lines.settings, plots);
    return chart;
}

}  // namespace migrate::bench
