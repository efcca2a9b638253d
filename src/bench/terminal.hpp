// What is seen while the bench runs: a line with a bar and the time left, and the measured figures
// of each scenario with bars when it is done.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "bench/json.hpp"

namespace migrate::bench {

class Terminal {
  public:
    // `runs` are to be done in all; `live` is for a terminal, which shows one line that changes.
    Terminal(std::size_t runs, bool live) : runs_(runs), live_(live) {}

    // Before and after each run, or one that a resumed bench need not repeat.
    void begin_run(std::string_view what);
    void end_run(std::string_view outcome);
    void skip_run() { --runs_; }
    void note(std::string_view text);
    // The scenario's figures, as bars.
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

}  // namespace migrate::bench
