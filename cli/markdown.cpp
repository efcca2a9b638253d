// SPDX-License-Identifier: Apache-2.0
#include "cli/markdown.hpp"

#include <fmt/format.h>

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "base/config/option_table.hpp"
#include "base/outcome.hpp"
#include "cli/bench_command.hpp"
#include "cli/help.hpp"

namespace migrate::cli {
namespace {

constexpr std::string_view kPageStart =
    "# Options\n"
    "\n"
    "<!-- Generated from src/base/config/option_table.hpp. Do not edit this page: change the "
    "table, "
    "build, and run\n"
    "     build/dev/cli/migrate options-markdown >docs/options.md -->\n"
    "\n"
    "An option is a flag (`--multifd-channels 8`) and a key of the JSON file that `--config` "
    "names\n"
    "(`\"multifd-channels\": 8`). A flag wins over the file, and the file wins over the default.\n"
    "`migrate send --help all` and `migrate recv --help all` show the same options.\n"
    "\n"
    "- **Command**: the command that has the option. *both* means that each side has its own "
    "value.\n"
    "- **Unit**: the unit of a number without a suffix.\n"
    "- **Negotiated**: the sender sends the value in the handshake. The receiver adopts it, or "
    "refuses the\n"
    "  migration and names the option.\n"
    "- *Adjustable*: the value may change during a migration, by QMP's `migrate-set-parameters`\n"
    "  (`auto-converge`: by `migrate-set-capabilities`).\n";

// A bar in the text must not end the cell.
std::string cell(std::string_view text) {
    std::string escaped;
    for (const char c : text) {
        if (c == '|') escaped += '\\';
        escaped += c;
    }
    return escaped;
}

// Empty cells have no blanks of their own, so that the table stays readable as text.
std::string table_row(std::span<const std::string> cells) {
    std::string row = "|";
    for (const std::string& text : cells) row += text.empty() ? " |" : fmt::format(" {} |", text);
    return row + '\n';
}

std::string_view command_cell(OptionSide side) {
    switch (side) {
        case OptionSide::kSend:
            return "send";
        case OptionSide::kRecv:
            return "recv";
        case OptionSide::kBoth:
            return "both";
    }
    return "";
}

std::string_view unit_of(OptionType type) {
    switch (type) {
        case OptionType::kBytes:
            return "bytes";
        case OptionType::kBytesPerSecond:
            return "bytes/s";
        case OptionType::kDurationMs:
            return "ms";
        case OptionType::kText:
        case OptionType::kForm:
        case OptionType::kForms:
        case OptionType::kWords:
        case OptionType::kHostPort:
        case OptionType::kHostPorts:
        case OptionType::kChoice:
        case OptionType::kOnOff:
        case OptionType::kInteger:
            return "";
    }
    return "";
}

std::string range_cell(const Option& option) {
    if (option.type == OptionType::kHostPort || option.type == OptionType::kHostPorts) {
        return fmt::format("port {} … {}", option.min, option.max);
    }
    // The flag shows the choices already.
    return choices_of(option).empty() ? allowed_text(option) : "";
}

std::string default_cell(const Option& option) {
    if (option.required && !option.instead.empty()) {
        return fmt::format("required without `--{}`", option.instead);
    }
    if (option.required) return "required";
    return option.default_text.empty() ? "" : fmt::format("`{}`", option.default_text);
}

std::string option_row(const Option& option) {
    const std::string meaning = cell(option.help) + (option.live ? " *Adjustable.*" : "");
    const std::array cells{
        fmt::format("`--{} {}`", option.key, cell(value_name_of(option))),
        std::string(command_cell(option.side)),
        default_cell(option),
        range_cell(option),
        std::string(unit_of(option.type)),
        std::string(option.negotiated ? "yes" : ""),
        meaning,
    };
    return table_row(cells);
}

// The form in the first row of its words, and in a row of its own if it has none.
std::string form_rows(const Form& form) {
    const std::array first{fmt::format("`{}`", cell(form_syntax(form))),
                           std::string(),
                           std::string(),
                           std::string(),
                           std::string(),
                           cell(form.help)};
    std::string text = table_row(first);
    for (const Option& word : form.words) {
        const std::array cells{std::string(),
                               fmt::format("`{}`", cell(word_syntax(word))),
                               default_cell(word),
                               range_cell(word),
                               std::string(unit_of(word.type)),
                               cell(word.help)};
        text += table_row(cells);
    }
    return text;
}

std::string form_table(const Option& option) {
    std::string text = fmt::format(
        "\n### {} of `--{}`\n\n| {} | Word | Default | Range | Unit | Meaning |\n"
        "| --- | --- | --- | --- | --- | --- |\n",
        value_name_of(option), option.key, value_name_of(option));
    for (const Form& form : option.forms->forms) text += form_rows(form);
    return text;
}

std::string section_table(OptionSection section) {
    std::string text = fmt::format(
        "\n## {}\n\n| Option | Command | Default | Range | Unit | Negotiated | Meaning |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n",
        section_title(section));
    for (const Option& option : kOptions) {
        if (option.section == section) text += option_row(option);
    }
    for (const Option& option : kOptions) {
        if (option.section == section && option.forms != nullptr) text += form_table(option);
    }
    return text;
}

std::string flag_table(std::string_view title, std::span<const CommandFlag> flags) {
    std::string text = fmt::format("\n## {}\n\n| Flag | Meaning |\n| --- | --- |\n", title);
    for (const CommandFlag& flag : flags) {
        const std::string letter = flag.letter.empty() ? "" : fmt::format("`-{}`, ", flag.letter);
        const std::string value = flag.value_name.empty() ? "" : ' ' + cell(flag.value_name);
        const std::array cells{fmt::format("{}`--{}{}`", letter, flag.name, value),
                               cell(flag.help)};
        text += table_row(cells);
    }
    return text;
}

}  // namespace

std::string options_page() {
    std::string text(kPageStart);
    text += fmt::format("\n{}\n", unit_note());
    for (const OptionSection section : all_sections()) text += section_table(section);
    text += flag_table("Configuration and help", kCommandFlags);
    return text + flag_table("Flags of `migrate bench`", kBenchFlags);
}

std::string exit_codes_markdown() {
    std::string text = "| Exit code | Outcome | Meaning |\n| --- | --- | --- |\n";
    for (const OutcomeRow& row : kOutcomes) {
        text += fmt::format("| {} | `{}` | {} |\n", row.exit_code, row.word, cell(row.meaning));
    }
    return text;
}

}  // namespace migrate::cli
