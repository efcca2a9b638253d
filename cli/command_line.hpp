// SPDX-License-Identifier: Apache-2.0
// Parses argv into a command with its settings, or a text to print. Invariant: a result holds
// settings that are complete and valid for their side; any mistake of the user is an Error of kind
// kUsage, before anything is printed or started.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "base/config/settings.hpp"
#include "base/error.hpp"
#include "cli/bench_command.hpp"

namespace migrate::cli {

enum class Command {
    kSend,
    kRecv,
    kHelp,         // print `text`: help, the man page, the completion script, …
    kVersion,      // print `text`
    kPrintConfig,  // print `text`
    kBench,        // run the scenarios of `bench`
    kProbe,        // examine what this host can do, and print it in `print_format`
    kStatus,       // print the migrations that run here, in `print_format`
};

enum class PrintFormat { kText, kJson };

struct CommandLine {
    Command command = Command::kHelp;
    Settings settings;  // meaningful for kSend and kRecv; settings.side() is the command's side
    std::string text;   // ends with a newline; to print on standard output
    PrintFormat print_format = PrintFormat::kText;  // meaningful for kProbe and kStatus
    BenchLine bench{};                              // meaningful for kBench
};

// `args` are the arguments after the program's name. Reads the file of --config.
Result<CommandLine> parse_command_line(std::span<const char* const> args);

// Reads as many settings as possible from an invalid command line, so that the error can be
// reported in the format that it requests. Nothing if the command is neither `send` nor `recv`.
std::optional<Settings> readable_settings(std::span<const char* const> args);

}  // namespace migrate::cli
