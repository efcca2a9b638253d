// SPDX-License-Identifier: Apache-2.0
// Runs one side's session to its end: progress, signals, report, exit code.
#pragma once

#include "base/config/settings.hpp"
#include "base/error.hpp"

namespace migrate::cli {

// The settings have passed validate(). Returns the exit code (base/outcome.hpp). Errors have been
// printed.
int run_send(const Settings& settings);
int run_recv(const Settings& settings);

}  // namespace migrate::cli
