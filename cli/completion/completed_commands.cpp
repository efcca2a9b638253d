// SPDX-License-Identifier: Apache-2.0
#include "cli/completion/completed_commands.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "base/config/form.hpp"
#include "base/config/option_table.hpp"
#include "bench/builtin_scenarios.hpp"
#include "cli/bench_command.hpp"
#include "cli/completion/completion.hpp"
#include "cli/help.hpp"
#include "cli/schemas.hpp"

namespace migrate::cli {
namespace {

using Value = CompletedFlag::Value;

// Returns "anon:". A form that is complete by its name, as "default", gets no colon. One without a
// name begins with its first word: "remote=".
std::string beginning_of(const Form& form) {
    if (form.name.empty()) return fmt::format("{}=", form.words.front().key);
    const bool complete = form.alone && form.operand.key.empty();
    return fmt::format("{}{}", form.name, complete ? "" : ":");
}

std::vector<std::string> split_choices(std::string_view choices) {
    std::vector<std::string> words;
    while (!choices.empty()) {
        const std::size_t end = std::min(choices.find('|'), choices.size());
        words.emplace_back(choices.substr(0, end));
        choices.remove_prefix(std::min(end + 1, choices.size()));
    }
    return words;
}

CompletedFlag flag_of(const Option& option) {
    CompletedFlag flag{.name = std::string(option.key),
                       .letter = "",
                       .help = std::string(option.help),
                       .value = Value::kUnknown,
                       .value_name = value_name_of(option),
                       .repeats = option.repeats};
    if (const auto choices = choices_of(option); !choices.empty()) {
        flag.value = Value::kWords;
        flag.words.assign(choices.begin(), choices.end());
    } else if (option.forms != nullptr) {
        flag.value = Value::kForms;
        flag.may_be_path = option.forms->bare_path;
        for (const Form& form : option.forms->forms) flag.words.push_back(beginning_of(form));
    } else if (option.value_name == "FILE") {
        flag.value = Value::kFile;
    }
    return flag;
}

CompletedFlag flag_of(const CommandFlag& row) {
    CompletedFlag flag{.name = std::string(row.name),
                       .letter = std::string(row.letter),
                       .help = std::string(row.help),
                       .value = row.value_name.empty() ? Value::kNone : Value::kUnknown,
                       .value_name = std::string(row.value_name)};
    if (row.value_name == "FILE") flag.value = Value::kFile;
    if (row.value_name == "DIR") flag.value = Value::kFolder;
    if (row.value_name.find('|') != std::string_view::npos) {
        flag.value = Value::kWords;
        flag.words = split_choices(row.value_name);
    }
    return flag;
}

CompletedCommand command_of(Side side, std::string_view name, std::string_view help) {
    CompletedCommand command{.name = std::string(name), .help = std::string(help)};
    for (const Option& option : kOptions) {
        if (option_applies(option, side)) command.flags.push_back(flag_of(option));
    }
    for (const CommandFlag& row : kCommandFlags) command.flags.push_back(flag_of(row));
    return command;
}

// A command whose only option is --json.
CompletedCommand printing(std::string_view name, std::string_view help) {
    return {.name = std::string(name),
            .help = std::string(help),
            .flags = {{.name = "json",
                       .letter = "",
                       .help = "Print JSON",
                       .value = Value::kNone,
                       .value_name = ""},
                      {.name = "help",
                       .letter = "h",
                       .help = "Show this help and exit",
                       .value = Value::kNone,
                       .value_name = ""}}};
}

CompletedCommand bench() {
    CompletedCommand command{.name = "bench", .help = "Run scenarios and report the measurements"};
    for (const CommandFlag& row : kBenchFlags) command.flags.push_back(flag_of(row));
    for (const auto& scenario : bench::builtin_scenarios()) {
        command.words.emplace_back(scenario.name);
    }
    return command;
}

}  // namespace

std::vector<CompletedCommand> completed_commands() {
    std::vector<CompletedCommand> commands;
    commands.push_back(command_of(Side::kRecv, "recv", "Wait for a sender and receive the memory"));
    commands.push_back(command_of(Side::kSend, "send", "Send the memory to a receiver"));
    commands.push_back(printing("status", "Show the migrations that run on this host"));
    commands.push_back(printing("probe", "Show what this host supports"));
    commands.push_back(bench());
    commands.push_back({.name = "help",
                        .help = "Show the help of a command",
                        .words = {"send", "recv", "status", "probe", "bench"}});
    CompletedCommand completion{.name = "completion",
                                .help = "Print the completion script of a shell"};
    for (const Shell& shell : kShells) completion.words.emplace_back(shell.name);
    commands.push_back(std::move(completion));
    CompletedCommand schema{.name = "schema", .help = "Print a JSON schema"};
    for (const Schema& each : kSchemas) schema.words.emplace_back(each.name);
    commands.push_back(std::move(schema));
    return commands;
}

}  // namespace migrate::cli
