#include "cli/completion.hpp"

#include <string_view>
#include <vector>

#include "base/config/option_table.hpp"
#include "cli/bench_command.hpp"
#include "cli/help.hpp"

namespace migrate::cli {
namespace {

// The start of the bash script: the words before the cursor select one of the lists below.
constexpr std::string_view kBegin =
    R"(# bash completion for migrate; printed by: migrate completion bash
_migrate() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev="" command=${COMP_WORDS[1]:-} flags=""
    ((COMP_CWORD > 0)) && prev=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    # "--flag=value" arrives as three words.
    if [[ $cur == "=" ]]; then
        cur=""
    elif [[ $prev == "=" ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "send recv probe bench help --help --version" -- "$cur")
        return
    fi
)";
constexpr std::string_view kHelpTopics = R"(    if [[ $command == help ]]; then
        mapfile -t COMPREPLY < <(compgen -W "send recv probe bench" -- "$cur")
        return
    fi
)";
constexpr std::string_view kEnd = R"(    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
}
complete -F _migrate migrate
)";

std::string flags_of(Side side) {
    std::string flags;
    for (const Option& option : kOptions) {
        if (option_applies(option, side)) flags += fmt::format("--{} ", option.key);
    }
    for (const CommandFlag& flag : kCommandFlags) flags += fmt::format("--{} ", flag.name);
    flags.pop_back();
    return flags;
}

std::string bench_flags() {
    std::string flags;
    for (const CommandFlag& flag : kBenchFlags) flags += fmt::format("--{} ", flag.name);
    flags.pop_back();
    return flags;
}

std::string flags_by_command() {
    return fmt::format(
        "    case $command in\n"
        "        send) flags=\"{}\" ;;\n"
        "        recv) flags=\"{}\" ;;\n"
        "        probe) flags=\"--json --help\" ;;\n"
        "        bench) flags=\"{}\" ;;\n"
        "        *) return ;;\n"
        "    esac\n",
        flags_of(Side::kSend), flags_of(Side::kRecv), bench_flags());
}

bool takes_path(std::string_view value_name) { return value_name == "FILE"; }

// Completes the names of forms, and paths if the value may be one: "file:" "anon:". Readline takes
// the colon for a word of its own; after it, there is nothing to complete but a path.
std::string form_values(const Option& option) {
    std::string names;
    for (const Form& form : option.forms->forms) {
        const bool complete = form.alone && form.operand.key.empty();
        names += fmt::format("{}{} ", form.name, complete ? "" : ":");
    }
    names.pop_back();
    return fmt::format(
        "        --{})\n"
        "            mapfile -t COMPREPLY < <(compgen -W \"{}\" -- \"$cur\")\n"
        "            compopt -o nospace 2>/dev/null\n"
        "{}"
        "            return ;;\n",
        option.key, names,
        option.forms->bare_path
            ? "            if ((${#COMPREPLY[@]} == 0)) || [[ -z $cur ]]; then\n"
              "                mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "
              "\"$cur\")\n"
              "            fi\n"
            : "");
}

// The values that follow a flag: choices, file names, or nothing if they cannot be known.
std::string values_by_flag() {
    std::vector<std::string> paths;
    std::vector<std::string> unknown;
    std::string text = "    case $prev in\n";
    for (const Option& option : kOptions) {
        const auto choices = choices_of(option);
        if (!choices.empty()) {
            text += fmt::format(
                "        --{}) mapfile -t COMPREPLY < <(compgen -W \"{}\" -- \"$cur\"); return "
                ";;\n",
                option.key, fmt::join(choices, " "));
        } else if (option.forms != nullptr) {
            text += form_values(option);
        } else {
            auto& list = takes_path(option.value_name) ? paths : unknown;
            list.push_back(fmt::format("--{}", option.key));
        }
    }
    for (const CommandFlag& flag : kCommandFlags) {
        if (takes_path(flag.value_name)) paths.push_back(fmt::format("--{}", flag.name));
    }
    for (const CommandFlag& flag : kBenchFlags) {
        if (flag.value_name == "DIR") paths.push_back(fmt::format("--{}", flag.name));
        if (flag.value_name == "F") unknown.push_back(fmt::format("--{}", flag.name));
    }
    text +=
        "        --peer) mapfile -t COMPREPLY < <(compgen -W \"qemu none\" -- \"$cur\"); return "
        ";;\n";
    text += fmt::format(
        "        {})\n"
        "            # Fails, harmlessly, where no completion is going on.\n"
        "            compopt -o filenames 2>/dev/null\n"
        "            mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
        "            return ;;\n",
        fmt::join(paths, "|"));
    text += fmt::format("        {}) return ;;\n", fmt::join(unknown, "|"));
    return text + "    esac\n";
}

}  // namespace

std::string bash_completion() {
    std::string script(kBegin);
    script += kHelpTopics;
    script += flags_by_command();
    script += values_by_flag();
    return script + std::string(kEnd);
}

}  // namespace migrate::cli
