// Makes the charts of a scenario, as gnuplot scripts, from results.json alone.
#pragma once

#include <string>
#include <vector>

#include "bench/json.hpp"

namespace migrate::bench {

struct Chart {
    std::string title;
    std::string script;  // gnuplot, without terminal and output
    int width = 860;
    int height = 380;
};

// Threads stacked, speed published and measured, speed by channels, downtimes and their
// distributions. A chart without figures is left out.
std::vector<Chart> charts_of(const Json& scenario);

}  // namespace migrate::bench
