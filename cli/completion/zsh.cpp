// SPDX-License-Identifier: Apache-2.0
#include <string_view>
#include <vector>

#include "cli/completion/completed_commands.hpp"
#include "cli/completion/completion.hpp"

namespace migrate::cli {
namespace {

using Value = CompletedFlag::Value;

// Escapes text for the single quotes of an argument of _arguments, where brackets and colons have a
// meaning.
std::string escape(std::string_view text) {
    std::string escaped;
    for (const char c : text) {
        if (c == '\'') {
            escaped += "'\\''";
            continue;
        }
        if (c == '[' || c == ']' || c == ':' || c == '\\') escaped += '\\';
        escaped += c;
    }
    return escaped;
}

std::string form_function(const CompletedFlag& flag) { return "_migrate_" + flag.name; }

// Returns what is offered for a flag's value, as the last part of an argument of _arguments.
std::string action_of(const CompletedFlag& flag) {
    switch (flag.value) {
        case Value::kWords:
            return fmt::format("({})", fmt::join(flag.words, " "));
        case Value::kForms:
            return form_function(flag);
        case Value::kFile:
            return "_files";
        case Value::kFolder:
            return "_files -/";
        case Value::kNone:
        case Value::kUnknown:
            break;
    }
    return " ";
}

std::string argument_of(const CompletedFlag& flag) {
    const std::string end = flag.value == Value::kNone
                                ? ""
                                : fmt::format(":{}:{}", escape(flag.value_name), action_of(flag));
    // The star offers the flag again after it was given.
    std::string text = fmt::format("            '{}--{}[{}]{}' \\\n", flag.repeats ? "*" : "",
                                   flag.name, escape(flag.help), end);
    if (!flag.letter.empty()) {
        text += fmt::format("            '-{}[{}]{}' \\\n", flag.letter, escape(flag.help), end);
    }
    return text;
}

std::string arguments_of(const CompletedCommand& command) {
    std::string text = fmt::format("    {})\n        _arguments -s \\\n", command.name);
    for (const CompletedFlag& flag : command.flags) text += argument_of(flag);
    if (!command.words.empty()) {
        text += fmt::format("            '*:word:({})' \\\n", fmt::join(command.words, " "));
    }
    // The last argument ends without a backslash.
    text.resize(text.size() - std::string_view(" \\\n").size());
    return text + "\n        ;;\n";
}

std::string form_functions(const std::vector<CompletedCommand>& commands) {
    std::string text;
    for (const CompletedCommand& command : commands) {
        for (const CompletedFlag& flag : command.flags) {
            const std::string head = form_function(flag) + "() {\n";
            if (flag.value != Value::kForms || text.find(head) != std::string::npos) continue;
            text += head + fmt::format("    compadd -S '' -- {}\n", fmt::join(flag.words, " "));
            if (flag.may_be_path) text += "    _files\n";
            text += "}\n\n";
        }
    }
    return text;
}

}  // namespace

std::string zsh_completion() {
    const std::vector<CompletedCommand> commands = completed_commands();
    std::string script = "#compdef migrate\n# printed by: migrate completion zsh\n\n";
    script += form_functions(commands);
    script += "_migrate() {\n    local -a commands=(\n";
    for (const CompletedCommand& command : commands) {
        script += fmt::format("        '{}:{}'\n", command.name, escape(command.help));
    }
    script +=
        "    )\n"
        "    if ((CURRENT == 2)); then\n"
        "        _describe command commands\n"
        "        compadd -- --help --version\n"
        "        return\n"
        "    fi\n"
        "    local command=$words[2]\n"
        "    shift words\n"
        "    ((CURRENT--))\n"
        "    case $command in\n";
    for (const CompletedCommand& command : commands) script += arguments_of(command);
    return script + "    esac\n}\n\ncompdef _migrate migrate\n";
}

}  // namespace migrate::cli
