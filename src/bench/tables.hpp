// The tables of a scenario, made of results.json alone. Invariants: published and measured figures
// never share a table; every measured row or column names its guest's size and what its memory is
// made of; savings are quoted only of runs without the software device.
#pragma once

#include <string>
#include <vector>

#include "bench/json.hpp"

namespace migrate::bench {

struct Table {
    std::string title;
    std::vector<std::string> header;
    std::vector<std::vector<std::string>> rows;  // each as long as the header
};

// The published tables first, then those measured.
std::vector<Table> tables_of(const Json& scenario);

// What must be said beside them: variants left out and why, runs that failed, what was discarded.
std::vector<std::string> notes_of(const Json& scenario);

// The machine and the mode, for the head of a report.
Table host_table(const Json& results);

// "12.3", or "12.3 (11.0 … 14.2)" of several values; "–" of none.
std::string spread_text(const std::vector<double>& values, int decimals);

}  // namespace migrate::bench
