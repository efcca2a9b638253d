// SPDX-License-Identifier: Apache-2.0
// `migrate bench` as a whole: scenarios in, results.json, report.md and report.html out.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "bench/plan.hpp"

namespace migrate::bench {

// The arguments of one `migrate bench`.
struct Request {
    std::vector<std::string> scenarios;  // names or paths
    std::string out;                     // folder; created if it does not exist
    std::string scenario_folder;         // empty: the scenarios compiled into the program
    std::string scratch = "/dev/shm";    // on tmpfs: images, received files
    Mode mode;
    bool resume = false;
};

// Name and title of every scenario, a line each, for --list. `scenario_folder` is as in Request.
Result<std::string> list_text(const std::string& scenario_folder);

struct Tally {
    unsigned failed_runs = 0;
    unsigned goals = 0;
    unsigned missed_goals = 0;
    unsigned unjudged_goals = 0;
};

// Runs all scenarios. `stop_fd` becomes readable when the user interrupts: the finished runs are
// then kept and reported, and the result is kCancelled. `live` is for a terminal on standard error.
Result<Tally> run_bench(const Request& request, int stop_fd, bool live);

}  // namespace migrate::bench
