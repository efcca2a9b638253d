// The report as one HTML page, without network access or scripts.
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

// Escapes the characters that HTML takes for markup.
std::string html_text(std::string_view text);

}  // namespace migrate::bench
