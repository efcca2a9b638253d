// SPDX-License-Identifier: Apache-2.0
// Makes the charts of a scenario, as gnuplot scripts, from results.json alone. Invariant: in all
// charts of a page, who was measured has one colour, and a thread has one colour. What was
// published has the name and the colour of what it is compared with, and is drawn lighter.
#pragma once

#include <string>
#include <vector>

#include "bench/json.hpp"

namespace migrate::bench {

// The width of the page: a chart is drawn for both, and the page shows the one that fits.
enum class PageWidth { kWide, kNarrow };

// The page shows the legend as text: gnuplot leaves out entries that do not fit.
struct LegendEntry {
    enum class Mark { kFull, kLight, kLine, kDashes };
    std::string text;
    std::string colour;  // "#3b82c4"
    Mark mark = Mark::kFull;
};

struct Chart {
    std::string title;
    std::string script;  // gnuplot, without terminal and output
    std::vector<LegendEntry> legend{};
    int width = 860;  // of the drawing, in the page's pixels
    int height = 380;
};

// Threads stacked, speed published and measured, speed by channels, downtimes and their
// distributions. A chart without figures is left out. Both widths have the same charts in the same
// order.
std::vector<Chart> charts_of(const Json& scenario, PageWidth width);

}  // namespace migrate::bench
