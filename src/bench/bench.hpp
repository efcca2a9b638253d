// `migrate bench` as a whole: scenarios in, results.json, report.md and report.html out.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "bench/plan.hpp"

namespace migrate::bench {

// How a bench is asked for.
struct Request {
    std::vector<std::string> scenarios;  // names or paths
    std::string out;                     // folder; made where it is not there
    std::string scenario_folder;         // empty: as scenario_folder() finds it
    std::string scratch = "/dev/shm";    // on tmpfs: images, received files
    Mode mode;
    bool resume = false;
};

// The scenarios that are there, a line each, for --list.
Result<std::string> list_text(const std::string& scenario_folder);

// Runs them all. `stop_fd` becomes readable when the user interrupts: then what was finished is
// kept and reported, and the result is kCancelled. `live` is for a terminal on standard error. The
// result is how many runs failed.
Result<unsigned> run_bench(const Request& request, int stop_fd, bool live);

}  // namespace migrate::bench
