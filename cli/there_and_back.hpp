// `--repeat N`: a guest goes to the other host and comes home, N times, between two processes that
// stay up. Invariant: a leg begins only when the one before has succeeded on this side; whichever
// leg fails, the guest goes on where that migration left it.
#pragma once

#include "base/config/settings.hpp"
#include "base/error.hpp"

namespace migrate::cli {

// Settings with repeat > 0 that passed validate(); the exit code. What went wrong in a leg has been
// printed; an Error is of the time before the first.
Result<int> send_there_and_back(const Settings& settings);
Result<int> recv_there_and_back(const Settings& settings);

}  // namespace migrate::cli
