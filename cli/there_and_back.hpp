// SPDX-License-Identifier: Apache-2.0
// `--repeat N`: a guest goes to the other host and comes back, N times, between two processes that
// keep running. Invariant: a leg begins only after the previous leg has succeeded on this side;
// whichever leg fails, the guest continues where that migration left it.
#pragma once

#include "base/config/settings.hpp"
#include "base/error.hpp"
#include "cli/run_result.hpp"

namespace migrate::cli {

// The settings have repeat > 0 and have passed validate(). `result` receives every leg's report,
// and the check of a guest that the last leg left here.
Status send_there_and_back(const Settings& settings, RunResult& result);
Status recv_there_and_back(const Settings& settings, RunResult& result);

}  // namespace migrate::cli
