// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <string_view>
#include <vector>

#include "cli/completion/completed_commands.hpp"
#include "cli/completion/completion.hpp"

namespace migrate::cli {
namespace {

using Value = CompletedFlag::Value;

// The start of the script: the words before the cursor select one of the lists below. {} are the
// commands.
constexpr std::string_view kBegin =
    R"(# bash completion for migrate; printed by: migrate completion bash
_migrate() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev="" command=${{COMP_WORDS[1]:-}} words=""
    ((COMP_CWORD > 0)) && prev=${{COMP_WORDS[COMP_CWORD - 1]}}
    COMPREPLY=()
    # "--flag=value" arrives as three words.
    if [[ $cur == "=" ]]; then
        cur=""
    elif [[ $prev == "=" ]]; then
        prev=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "{} --help --version" -- "$cur")
        return
    fi
    case $command in
)";
constexpr std::string_view kEnd = R"(    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _migrate migrate
)";

// Returns what a command takes: scenarios, topics, shells, then its flags.
std::string words_of(const CompletedCommand& command) {
    std::vector<std::string> words = command.words;
    for (const CompletedFlag& flag : command.flags) words.push_back("--" + flag.name);
    return fmt::format("{}", fmt::join(words, " "));
}

// Readline takes the colon of "file:" for a word of its own; after it, there is nothing to complete
// but a path.
std::string form_values(const CompletedFlag& flag) {
    return fmt::format(
        "        --{})\n"
        "            mapfile -t COMPREPLY < <(compgen -W \"{}\" -- \"$cur\")\n"
        "            compopt -o nospace 2>/dev/null\n"
        "{}"
        "            return ;;\n",
        flag.name, fmt::join(flag.words, " "),
        flag.may_be_path
            ? "            if ((${#COMPREPLY[@]} == 0)) || [[ -z $cur ]]; then\n"
              "                mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "
              "\"$cur\")\n"
              "            fi\n"
            : "");
}

std::string word_values(const CompletedFlag& flag) {
    return fmt::format(
        "        --{}) mapfile -t COMPREPLY < <(compgen -W \"{}\" -- \"$cur\"); return ;;\n",
        flag.name, fmt::join(flag.words, " "));
}

std::string path_values(const std::vector<std::string>& flags, std::string_view action) {
    return fmt::format(
        "        {})\n"
        "            # Fails, harmlessly, where no completion is going on.\n"
        "            compopt -o filenames 2>/dev/null\n"
        "            mapfile -t COMPREPLY < <(compgen {} -- \"$cur\")\n"
        "            return ;;\n",
        fmt::join(flags, "|"), action);
}

// Returns the values that follow a flag: choices, file names, or nothing if they cannot be known. A
// flag that several commands have takes the same values for each.
std::string values_by_flag(const std::vector<CompletedCommand>& commands) {
    std::map<Value, std::vector<std::string>> lists;
    std::map<std::string, bool> done;
    std::string text = "    case $prev in\n";
    for (const CompletedCommand& command : commands) {
        for (const CompletedFlag& flag : command.flags) {
            if (done[flag.name] || flag.value == Value::kNone) continue;
            done[flag.name] = true;
            if (flag.value == Value::kWords) {
                text += word_values(flag);
            } else if (flag.value == Value::kForms) {
                text += form_values(flag);
            } else {
                lists[flag.value].push_back("--" + flag.name);
            }
        }
    }
    text += path_values(lists[Value::kFile], "-f");
    text += path_values(lists[Value::kFolder], "-d");
    text += fmt::format("        {}) return ;;\n", fmt::join(lists[Value::kUnknown], "|"));
    return text + "    esac\n";
}

}  // namespace

std::string bash_completion() {
    const std::vector<CompletedCommand> commands = completed_commands();
    std::vector<std::string> names;
    std::string words;
    for (const CompletedCommand& command : commands) {
        names.push_back(command.name);
        words += fmt::format("        {}) words=\"{}\" ;;\n", command.name, words_of(command));
    }
    std::string script = fmt::format(kBegin, fmt::join(names, " "));
    script += words + "        *) return ;;\n    esac\n";
    std::string values = values_by_flag(commands);
    // kEnd closes the last case.
    values.resize(values.size() - std::string_view("    esac\n").size());
    return script + values + std::string(kEnd);
}

}  // namespace migrate::cli
