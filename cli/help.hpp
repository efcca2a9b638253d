// What the program says about itself, generated from the option table.
// Invariant: no option is named here; a row of the table is all that the help, and the README's
// table, need.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "base/config/option_table.hpp"

namespace migrate::cli {

// A flag that asks for something about the settings and therefore is not one of them.
struct CommandFlag {
    std::string_view name;
    std::string_view letter;      // "h" for -h; empty: none
    std::string_view value_name;  // empty: takes no value
    std::string_view help;
};
inline constexpr auto kCommandFlags = std::to_array<CommandFlag>({
    {"config", "", "FILE", "Read options from this JSON file. A flag wins over the file."},
    {"print-config", "", "", "Print all settings as JSON, in the form --config reads, and exit."},
    {"help", "h", "", "Show this help and exit."},
    {"version", "", "", "Show the program's version and exit."},
});

// What a command is for, in a sentence or two.
std::string_view command_summary(Side side);
// "migrate send --connect HOST:PORT --source SOURCE [options]": the options that it needs.
std::string command_usage(Side side);

// The option's help with its default and range behind it.
std::string describe(const Option& option);
// How sizes and times are written, for below a list of options.
std::string_view unit_note();

// Three lines, for a command line that says nothing.
std::string short_usage();
// `migrate --help`
std::string overview_text();
// `migrate send --help`
std::string command_help_text(Side side);
// `migrate probe --help`
std::string probe_help_text();
// What `migrate probe` is for, in a sentence or two.
std::string_view probe_summary();
// The table of options for the README, in GitHub's Markdown.
std::string options_markdown();
// The table of exit codes for the README, in GitHub's Markdown.
std::string exit_codes_markdown();

}  // namespace migrate::cli
