// Runs one side's session to its end: progress, signals, report, exit code.
#pragma once

#include "base/config/settings.hpp"
#include "base/error.hpp"

namespace migrate::cli {

// Exit codes of the program.
inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;  // failed or cancelled
inline constexpr int kExitUsage = 2;

// Prints what went wrong on standard error and returns the exit code for it.
int report_error(const Error& error);

// Settings that passed validate(); returns the exit code. Errors have been printed.
int run_send(const Settings& settings);
int run_recv(const Settings& settings);

}  // namespace migrate::cli
