// SPDX-License-Identifier: Apache-2.0
// Runs a plan: the variants in turn (A B A B …), warm-ups first, each run on its own.
#pragma once

#include <filesystem>

#include "base/error.hpp"
#include "bench/plan.hpp"
#include "bench/results.hpp"
#include "bench/terminal.hpp"

namespace migrate::bench {

class Runner {
  public:
    // Creates a folder of its own in `scratch`, a folder on tmpfs, and removes it at the end.
    static Result<Runner> create(const std::filesystem::path& scratch, Results& results,
                                 Terminal& terminal, int stop_fd);
    Runner(Runner&& other) noexcept
        : folder_(std::exchange(other.folder_, {})),
          results_(other.results_),
          terminal_(other.terminal_),
          stop_fd_(other.stop_fd_) {}
    Runner& operator=(Runner&&) = delete;
    Runner(const Runner&) = delete;
    Runner& operator=(const Runner&) = delete;
    ~Runner();

    // Does the plan's runs that the results lack, and saves each result at once. A run that fails
    // is saved with its error, and the others go on. Returns the number of failed runs; kCancelled
    // when interrupted.
    Result<unsigned> run(const Plan& plan);

  private:
    Runner(std::filesystem::path folder, Results& results, Terminal& terminal, int stop_fd)
        : folder_(std::move(folder)), results_(results), terminal_(terminal), stop_fd_(stop_fd) {}
    Result<Json> run_once(const Plan& plan, const PlannedVariant& planned);
    Result<std::filesystem::path> image_for(const PlannedVariant& planned);
    // Removes every image with another name.
    void drop_images(const std::string& but);

    std::filesystem::path folder_;  // empty: moved from
    Results& results_;
    Terminal& terminal_;
    int stop_fd_ = -1;
};

}  // namespace migrate::bench
