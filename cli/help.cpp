// SPDX-License-Identifier: Apache-2.0
#include "cli/help.hpp"

#include <algorithm>
#include <vector>

#include "base/outcome.hpp"
#include "cli/bench_command.hpp"

namespace migrate::cli {
namespace {

constexpr std::size_t kWidth = 90;       // columns per line
constexpr std::size_t kHelpColumn = 32;  // column where an option's description begins

// Returns the number of columns on a terminal: every character of the program's texts is one wide.
std::size_t columns(std::string_view utf8) {
    const auto is_first_byte = [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
    };
    return static_cast<std::size_t>(std::count_if(utf8.begin(), utf8.end(), is_first_byte));
}

// Breaks `text` at its spaces into lines; indents all but the first, which begins at column
// `begin`.
std::string wrap(std::string_view text, std::size_t begin, std::size_t indent) {
    std::string wrapped;
    std::size_t column = begin;
    bool line_is_empty = true;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(' '), text.size());
        const std::string_view word = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (!line_is_empty && column + 1 + columns(word) > kWidth) {
            wrapped += '\n' + std::string(indent, ' ');
            column = indent;
            line_is_empty = true;
        }
        if (!line_is_empty) {
            wrapped += ' ';
            ++column;
        }
        wrapped += word;
        column += columns(word);
        line_is_empty = false;
    }
    return wrapped + '\n';
}

std::string paragraph(std::string_view text) { return wrap(text, 0, 0); }

std::string entry(const std::string& flag, std::string_view help, std::size_t indent = 2) {
    std::string text = std::string(indent, ' ') + flag;
    if (columns(text) + 2 > kHelpColumn) {
        text += '\n' + std::string(kHelpColumn, ' ');
    } else {
        text += std::string(kHelpColumn - columns(text), ' ');
    }
    return text + wrap(help, kHelpColumn, kHelpColumn);
}

std::string flag_with_value(std::string_view name, std::string_view value_name) {
    return value_name.empty() ? fmt::format("--{}", name)
                              : fmt::format("--{} {}", name, value_name);
}

// The forms of an option's value, and, in the whole help, the words of each.
std::string forms_text(const Option& option, HelpPart part) {
    std::string text;
    if (option.forms == nullptr) return text;
    for (const Form& form : option.forms->forms) {
        text += entry(form_syntax(form), form.help, 4);
        if (part == HelpPart::kEveryday) continue;
        for (const Option& word : form.words) text += entry(word_syntax(word), describe(word), 6);
    }
    return text;
}

std::string option_entry(const Option& option, HelpPart part) {
    return entry(flag_with_value(option.key, value_name_of(option)), describe(option)) +
           forms_text(option, part);
}

std::string section_text(Side side, OptionSection section) {
    std::string text = fmt::format("\n{}:\n", section_title(section));
    for (const Option& option : kOptions) {
        if (option.section != section || !option_applies(option, side)) continue;
        text += option_entry(option, HelpPart::kAll);
    }
    return text;
}

std::string everyday_text(Side side) {
    std::string text = "\nEveryday options:\n";
    for (const bool required : {true, false}) {
        for (const Option& option : kOptions) {
            if (option.required != required || !option_applies(option, side)) continue;
            if (required || option.everyday) text += option_entry(option, HelpPart::kEveryday);
        }
    }
    return text;
}

std::string all_options_text(Side side) {
    std::string text;
    for (const OptionSection section : all_sections()) {
        const bool any = std::any_of(kOptions.begin(), kOptions.end(), [&](const Option& option) {
            return option.section == section && option_applies(option, side);
        });
        if (any) text += section_text(side, section);
    }
    return text;
}

constexpr std::string_view kSendExamples =
    "\nAn image, with a check at the end:\n"
    "  migrate send --connect HOST:4444 --source file:/var/tmp/guest.mem --verify digest \\\n"
    "      --tls-creds x509\n"
    "A running QEMU, through its QMP socket:\n"
    "  migrate send --connect HOST:4444 --source qemu:/run/vm.qmp --tls-creds x509\n"
    "A running guest that is built in, within one machine:\n"
    "  migrate send --connect 127.0.0.1:4444 --source workload:1G\n";
constexpr std::string_view kRecvExamples =
    "\nAn image:\n"
    "  migrate recv --listen 0.0.0.0:4444 --sink file:/var/tmp/guest.mem --tls-creds x509\n"
    "A running QEMU, into a QEMU that was started with -incoming defer:\n"
    "  migrate recv --listen 0.0.0.0:4444 --sink qemu:/run/vm2.qmp --tls-creds x509\n"
    "A running guest that is built in, within one machine:\n"
    "  migrate recv --listen 127.0.0.1:4444 --sink anon:\n";

std::string command_flags_text() {
    std::string text = "\nConfiguration and help:\n";
    for (const CommandFlag& flag : kCommandFlags) {
        const std::string alias = flag.letter.empty() ? "" : fmt::format("-{}, ", flag.letter);
        text += entry(fmt::format("{}{}", alias, flag_with_value(flag.name, flag.value_name)),
                      flag.help);
    }
    return text;
}

std::string exit_status_text() {
    std::string text = "Exit status, and the outcome in the line of --json:\n";
    for (const OutcomeRow& row : kOutcomes) {
        text += entry(fmt::format("{}  {}", row.exit_code, row.word), row.meaning);
    }
    return text;
}

}  // namespace

std::string_view command_summary(Side side) {
    return side == Side::kSend
               ? "Sends a guest's memory to a waiting 'migrate recv', over parallel TCP channels."
               : "Waits for 'migrate send' and receives the memory. The sender decides how it is "
                 "sent: channels, packet size, compression.";
}

std::string command_usage(Side side) {
    std::string usage(command_name(side));
    for (const Option& option : kOptions) {
        if (!option.required || !option_applies(option, side)) continue;
        usage += ' ' + flag_with_value(option.key, value_name_of(option));
    }
    return usage + " [options]";
}

std::string describe(const Option& option) {
    std::vector<std::string> notes;
    if (option.required && option.instead.empty()) notes.emplace_back("required");
    if (!option.instead.empty())
        notes.push_back(fmt::format("required without {}", option.instead));
    if (!option.default_text.empty())
        notes.push_back(fmt::format("default {}", option.default_text));
    if (choices_of(option).empty() && !allowed_text(option).empty()) {
        notes.push_back(fmt::format("range {}", allowed_text(option)));
    }
    if (notes.empty()) return std::string(option.help);
    return fmt::format("{} ({})", option.help, fmt::join(notes, "; "));
}

std::string word_syntax(const Option& word) {
    return fmt::format("{}={}", word.key, value_name_of(word));
}

std::string_view unit_note() {
    return "SIZE is in bytes, or a number with K, M, G or T (multiples of 1024). SIZE/s is a SIZE "
           "for each second, as 200M or 200M/s, or a number with kbit/s, Mbit/s or Gbit/s. TIME is "
           "in milliseconds, or a number with ms, s, min or h.";
}

std::string short_usage() {
    return fmt::format("usage: {}\n       {}\nTry 'migrate --help'.", command_usage(Side::kRecv),
                       command_usage(Side::kSend));
}

std::string overview_text() {
    std::string text = "Usage: migrate COMMAND [options]\n\n";
    text += paragraph(
        "Moves a guest's memory to another host over parallel TCP channels. Each channel looks for "
        "zero pages on its own thread.");
    text += "\nCommands:\n";
    text += entry("recv", "Wait for a sender and receive the memory.");
    text += entry("send", "Send the memory to a receiver.");
    text += entry("status [--json]", "Show the migrations that run on this host.");
    text += entry("probe [--json]", "Show what this host supports.");
    text += entry("bench NAME… --out DIR", "Run scenarios and report the measurements.");
    text += entry("help [send|recv|status|probe|bench]",
                  "Show this help, or that of a command; 'help send all' shows every option.");
    text += entry("completion bash|zsh|fish", "Print the completion script of a shell.");
    text += entry("schema config|statistics|events|scenario",
                  "Print a JSON schema: of configurations, of what the program writes, or of "
                  "scenarios for 'bench'.");
    text += entry("--version", "Show version, commit, protocol and features.");
    text +=
        "\nOn one machine, in two terminals:\n"
        "  migrate recv --listen 127.0.0.1:4444 --sink anon:\n"
        "  migrate send --connect 127.0.0.1:4444 --source anon:1G,fill=mixed:50\n"
        "\nFrom one host to another, encrypted, over 8 channels, with a check at the end:\n"
        "  migrate recv --listen 0.0.0.0:4444 --sink file:/var/tmp/guest.mem \\\n"
        "      --tls-creds x509\n"
        "  migrate send --connect HOST:4444 --source file:/dev/shm/guest.mem \\\n"
        "      --tls-creds x509 --multifd-channels 8 --verify digest\n\n";
    return text + exit_status_text();
}

std::string command_help_text(Side side, HelpPart part) {
    std::string text = fmt::format("Usage: {}\n\n", command_usage(side));
    text += paragraph(command_summary(side));
    text += part == HelpPart::kAll ? all_options_text(side) : everyday_text(side);
    text += command_flags_text();
    if (part == HelpPart::kEveryday) {
        text += side == Side::kSend ? kSendExamples : kRecvExamples;
        return text + '\n' +
               paragraph(fmt::format("'{} --help all' shows the other options, the words of the "
                                     "forms above and the exit status.",
                                     command_name(side)));
    }
    text += '\n' + exit_status_text();
    return text + '\n' + paragraph(unit_note());
}

std::string_view status_summary() {
    return "Shows the 'migrate send' and 'migrate recv' that run on this host, one line each: "
           "process id, side, guest, state, progress, memory and peer. A user sees the own ones, "
           "root those of all users.";
}

std::string status_help_text() {
    return "Usage: migrate status [--json]\n\n" + paragraph(status_summary()) + "\nOptions:\n" +
           entry("--json", "Print a JSON list with an object for each.") +
           entry("-h, --help", "Show this help and exit.");
}

std::string_view probe_summary() {
    return "Shows which dirty trackers, zero kernels and DSA work queues this host supports, and "
           "what "
           "the others need. 'auto' takes the first that is supported.";
}

std::string probe_help_text() {
    return "Usage: migrate probe [--json]\n\n" + paragraph(probe_summary()) + "\nOptions:\n" +
           entry("--json", "Print one JSON object.") +
           entry("-h, --help", "Show this help and exit.");
}

std::string_view bench_summary() {
    return "Runs scenarios on this machine with real senders and receivers, and alternates between "
           "the compared variants. Some scenarios repeat published measurements. Writes the raw "
           "results, a report in Markdown and an HTML page with charts. Published figures stand "
           "beside measured ones.";
}

std::string bench_help_text() {
    std::string text =
        "Usage: migrate bench --list\n"
        "       migrate bench NAME|FILE.json… --out DIR [options]\n\n" +
        paragraph(bench_summary()) + "\nOptions:\n";
    for (const CommandFlag& flag : kBenchFlags) {
        const std::string alias = flag.letter.empty() ? "" : fmt::format("-{}, ", flag.letter);
        text += entry(fmt::format("{}{}", alias, flag_with_value(flag.name, flag.value_name)),
                      flag.help);
    }
    return text;
}

}  // namespace migrate::cli
