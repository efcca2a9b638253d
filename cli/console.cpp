// SPDX-License-Identifier: Apache-2.0
#include "cli/console.hpp"

#include <fmt/format.h>

#include <string>

#include "base/outcome.hpp"
#include "base/output.hpp"

namespace migrate::cli {

Console::Console(OutputFormat format, Loudness loudness)
    : Console(
          format,
          {.out = output::to_stdout,
           .err = [](std::string_view text) { output::to_stderr(text, Importance::kImportant); }},
          loudness) {}

void Console::say(std::string_view lines) const {
    if (loudness_ == Loudness::kQuiet) return;
    (format_ == OutputFormat::kJson ? writers_.err : writers_.out)(lines);
}

void Console::advise(std::string_view advice) const {
    if (loudness_ != Loudness::kQuiet && !advice.empty()) warn(advice);
}

void Console::warn(std::string_view message) const {
    writers_.err(fmt::format("migrate: {}\n", message));
}

void Console::report(const Error& error) const {
    const bool cancelled = error.kind() == ErrorKind::kCancelled;
    warn(fmt::format("{}: {}", cancelled ? "cancelled" : "error", error.message()));
}

void Console::last_line(std::string_view json) const {
    if (format_ == OutputFormat::kJson) writers_.out(std::string(json) + '\n');
}

int report_error(const Error& error) {
    Console(OutputFormat::kText).report(error);
    return exit_code_of(outcome_of(error));
}

}  // namespace migrate::cli
