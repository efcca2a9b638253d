// `--repeat N`: a guest goes to the other host and comes home, N times, between two processes that
// stay up. Invariant: a leg begins only when the one before has succeeded on this side; whichever
// leg fails, the guest goes on where that migration left it.
#pragma once

#include "base/config/settings.hpp"
#include "base/error.hpp"
#include "cli/run_result.hpp"

namespace migrate::cli {

// Settings with repeat > 0 that passed validate(). Every leg's report is in `result`, and how the
// guest fared that the last one left here.
Status send_there_and_back(const Settings& settings, RunResult& result);
Status recv_there_and_back(const Settings& settings, RunResult& result);

}  // namespace migrate::cli
