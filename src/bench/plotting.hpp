// SPDX-License-Identifier: Apache-2.0
// gnuplot scripts for the kinds of charts that a report has.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "bench/charts.hpp"

namespace migrate::bench {

// The program that was measured; the value is also the index of the colour.
enum class Kind : std::size_t { kOurs, kPeer, kBaseline };

// A figure of one series of runs: its median, its least and its largest value.
struct Spread {
    double value = 0;
    double least = 0;
    double most = 0;
};
Spread spread_of(const std::vector<double>& values);

struct Bar {
    Kind kind = Kind::kOurs;
    bool published = false;
    Spread spread;
};

// The bars of one label.
struct BarGroup {
    std::string label;
    std::vector<Bar> bars;
};

// The title names the unit. Horizontal bars with their figures and, if they have more than one
// value, error bars.
Chart bar_chart(std::string title, const std::vector<BarGroup>& groups, PageWidth width);

// The parts of one stacked bar, by name.
struct Stack {
    std::string label;
    std::vector<std::pair<std::string, double>> parts;
};
// Horizontal stacked bars; a part's colour follows from its name.
Chart stack_chart(std::string title, const std::vector<Stack>& stacks, PageWidth width);

// A line of points, each with its spread. The titles of the lines of a chart differ.
struct Line {
    std::string title;
    std::string colour;  // "#3b82c4"
    bool published = false;
    std::vector<std::pair<double, Spread>> points;
};

enum class LineStyle {
    kPoints,  // straight lines between points with error bars
    kSteps,   // a value holds until the next point
};

struct LineChart {
    std::string title;
    std::string x_label;
    std::string y_label;
    LineStyle style = LineStyle::kPoints;
    std::string settings;  // further lines of the script
    std::vector<Line> lines;
};
// At least one line has points.
Chart line_chart(const LineChart& lines, PageWidth width);

// "QEMU, measured here"
std::string series_title(Kind kind, bool published);
std::string kind_colour(Kind kind);
// The colour of the entry at `index` of a list.
std::string colour_at(std::size_t index);

}  // namespace migrate::bench
