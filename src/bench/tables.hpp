// SPDX-License-Identifier: Apache-2.0
// The tables of a scenario, made of results.json alone. Invariants: published and measured figures
// never share a table; every measured row or column names its guest's size and the kind of its
// memory; savings are quoted only for runs without the software device.
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

// The published tables first, then those measured, then the goals.
std::vector<Table> tables_of(const Json& scenario);

// The goals, and for each whether it was met; without rows where the scenario has none.
Table goals_table(const Json& scenario);

// Remarks below the tables: variants left out and why, runs that failed, what was discarded.
std::vector<std::string> notes_of(const Json& scenario);

// The machine and the mode, for the head of a report.
Table host_table(const Json& results);

// "12.3", or "12.3 (11.0 … 14.2)" of several values; "–" of none.
std::string spread_text(const std::vector<double>& values, int decimals);

}  // namespace migrate::bench
