// SPDX-License-Identifier: Apache-2.0
// The terminal while the bench runs: a line with a bar and the time left. When a scenario is done,
// it shows the measured figures with bars, and the goals.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "bench/json.hpp"

namespace migrate::bench {

class Terminal {
  public:
    // `runs` is the number of all runs; `live` is for a terminal, whose last line is rewritten.
    Terminal(std::size_t runs, bool live) : runs_(runs), live_(live) {}

    // Called before and after each run. skip_run() is for one that a resumed bench has already.
    void begin_run(std::string_view what);
    void end_run(std::string_view outcome);
    void skip_run() { --runs_; }
    void note(std::string_view text);
    // The scenario's figures as bars, and its goals.
    void show(const Json& scenario);

  private:
    void clear() const;

    std::size_t runs_ = 0;
    std::size_t done_ = 0;
    bool live_ = false;
    std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

// "▇▇▇▇▇▌": `part` of `whole`, in `width` columns.
std::string bar(double part, double whole, std::size_t width);

// A scenario's measured figures as lines for the terminal.
std::string bars_text(const Json& scenario);

// A line for each of its goals: "goal met: …".
std::string goals_text(const Json& scenario);

}  // namespace migrate::bench
