// The report as one HTML page that needs nothing else: no network, no script.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bench/json.hpp"

namespace migrate::bench {

// Title and SVG of each drawing, by scenario.
using Drawings = std::map<std::string, std::vector<std::pair<std::string, std::string>>>;

// `missing` says why there are no drawings; empty where there are.
std::string html_report(const Json& results, const Drawings& drawings, const std::string& missing);

// Text with what HTML would take for markup escaped.
std::string html_text(std::string_view text);

}  // namespace migrate::bench
