// SPDX-License-Identifier: Apache-2.0
// The program's help texts, generated from the option table. Invariant: no option is named here; a
// new option needs only its row in the table to appear in the help and in docs/options.md.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "base/config/option_table.hpp"

namespace migrate::cli {

// A flag that requests information about the settings and therefore is not one of them.
struct CommandFlag {
    std::string_view name;
    std::string_view letter;      // "h" for -h; empty if none
    std::string_view value_name;  // empty: takes no value
    std::string_view help;
};
inline constexpr auto kCommandFlags = std::to_array<CommandFlag>({
    {"config", "", "FILE", "Read options from this JSON file. A flag wins over the file."},
    {"print-config", "", "", "Print all settings as the JSON that --config reads, and exit."},
    {"help", "h", "", "Show the everyday options and exit; '--help all' shows all of them."},
    {"version", "", "", "Show version, commit, protocol and features, and exit."},
});

// The purpose of a command, in a sentence or two.
std::string_view command_summary(Side side);
// "migrate send --connect HOST:PORT --source SOURCE [options]": lists the required options.
std::string command_usage(Side side);

// Returns the help of an option or a word, followed by its default and range.
std::string describe(const Option& option);
// "fill=untouched|read": a word of a form.
std::string word_syntax(const Option& word);
// The notation of sizes and times, to be printed below a list of options.
std::string_view unit_note();

// Three lines, for a command line without a command.
std::string short_usage();
// The text of `migrate --help`.
std::string overview_text();
enum class HelpPart { kEveryday, kAll };
// The text of `migrate send --help` or `migrate recv --help`: the everyday options with examples,
// or, for `--help all`, every option in its section, with the words of its forms.
std::string command_help_text(Side side, HelpPart part);
// The text of `migrate status --help`.
std::string status_help_text();
// The purpose of `migrate status`, in a sentence or two.
std::string_view status_summary();
// The text of `migrate probe --help`.
std::string probe_help_text();
// The purpose of `migrate probe`, in a sentence or two.
std::string_view probe_summary();

}  // namespace migrate::cli
