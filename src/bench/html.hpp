// SPDX-License-Identifier: Apache-2.0
// The report as one HTML page, without network access or scripts. It is a story: what was found, in
// a ratio and a sentence for each scenario; then each scenario with its question, its charts, its
// goals and all its figures; the machine at the end.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "bench/charts.hpp"
#include "bench/json.hpp"

namespace migrate::bench {

// One chart as SVG, drawn for both widths of the page.
struct Drawing {
    std::string title;
    std::vector<LegendEntry> legend;
    std::string wide;
    std::string narrow;
};
// The drawings of each scenario, by its name.
using Drawings = std::map<std::string, std::vector<Drawing>>;

// `missing` says why there are no drawings; empty where there are.
std::string html_report(const Json& results, const Drawings& drawings, const std::string& missing);

// Escapes the characters that HTML takes for markup.
std::string html_text(std::string_view text);

}  // namespace migrate::bench
