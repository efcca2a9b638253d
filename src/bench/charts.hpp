// The charts of a scenario as gnuplot scripts, made of results.json alone.
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

// Threads stacked, speed published against measured, speed against channels, downtimes and their
// distributions: those for which the scenario has figures.
std::vector<Chart> charts_of(const Json& scenario);

}  // namespace migrate::bench
