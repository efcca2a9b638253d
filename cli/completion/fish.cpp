// SPDX-License-Identifier: Apache-2.0
#include <string_view>
#include <vector>

#include "cli/completion/completed_commands.hpp"
#include "cli/completion/completion.hpp"

namespace migrate::cli {
namespace {

using Value = CompletedFlag::Value;

// Returns the text in single quotes, as fish reads them.
std::string in_quotes(std::string_view text) {
    std::string result = "'";
    for (const char c : text) {
        if (c == '\'' || c == '\\') result += '\\';
        result += c;
    }
    return result + '\'';
}

std::string words(const CompletedFlag& flag) {
    return in_quotes(fmt::format("{}", fmt::join(flag.words, " ")));
}

// Returns how the value of a flag is completed.
std::string value_of(const CompletedFlag& flag) {
    switch (flag.value) {
        case Value::kNone:
            return "";
        case Value::kUnknown:
            return " -x";
        case Value::kWords:
            return " -x -a " + words(flag);
        case Value::kForms:
            return flag.may_be_path ? " -r -F -a " + words(flag) : " -x -a " + words(flag);
        case Value::kFile:
            return " -r -F";
        case Value::kFolder:
            return " -x -a '(__fish_complete_directories)'";
    }
    return "";
}

std::string line_of(const CompletedCommand& command, const CompletedFlag& flag) {
    const std::string letter = flag.letter.empty() ? "" : fmt::format(" -s {}", flag.letter);
    return fmt::format("complete -c migrate -n '__fish_seen_subcommand_from {}' -l {}{}{} -d {}\n",
                       command.name, flag.name, letter, value_of(flag), in_quotes(flag.help));
}

}  // namespace

std::string fish_completion() {
    std::string script =
        "# fish completion for migrate; printed by: migrate completion fish\n"
        "complete -c migrate -f\n"
        "complete -c migrate -n __fish_use_subcommand -l help -d 'Show the help'\n"
        "complete -c migrate -n __fish_use_subcommand -l version -d 'Show the version'\n";
    for (const CompletedCommand& command : completed_commands()) {
        script += fmt::format("complete -c migrate -n __fish_use_subcommand -a {} -d {}\n",
                              command.name, in_quotes(command.help));
        if (!command.words.empty()) {
            script += fmt::format("complete -c migrate -n '__fish_seen_subcommand_from {}' -a {}\n",
                                  command.name,
                                  in_quotes(fmt::format("{}", fmt::join(command.words, " "))));
        }
        for (const CompletedFlag& flag : command.flags) script += line_of(command, flag);
    }
    return script;
}

}  // namespace migrate::cli
