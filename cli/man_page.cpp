// SPDX-License-Identifier: Apache-2.0
#include "cli/man_page.hpp"

#include <string_view>
#include <vector>

#include "base/config/option_table.hpp"
#include "base/outcome.hpp"
#include "base/version.hpp"
#include "cli/bench_command.hpp"
#include "cli/help.hpp"

namespace migrate::cli {
namespace {

// Escapes text for troff: dashes that can be copied, no accidental requests, ASCII only.
std::string escape(std::string_view text) {
    constexpr std::string_view kEllipsis = "…";
    std::string escaped;
    if (text.starts_with('.') || text.starts_with('\'')) escaped += "\\&";
    while (!text.empty()) {
        if (text.starts_with(kEllipsis)) {
            escaped += "...";
            text.remove_prefix(kEllipsis.size());
            continue;
        }
        switch (text.front()) {
            case '\\':
                escaped += "\\e";
                break;
            case '-':
                escaped += "\\-";
                break;
            case '\'':
                escaped += "\\(aq";
                break;
            default:
                escaped += text.front();
        }
        text.remove_prefix(1);
    }
    return escaped;
}

std::string heading(std::string_view title) { return fmt::format(".SH {}\n", title); }

std::string roff_paragraph(std::string_view text) { return fmt::format(".PP\n{}\n", escape(text)); }

std::string entry(std::string_view letter, std::string_view flag, std::string_view value_name,
                  std::string_view help) {
    const std::string value =
        value_name.empty() ? "" : fmt::format(" \\fI{}\\fR", escape(value_name));
    const std::string alias = letter.empty() ? "" : fmt::format("\\fB\\-{}\\fR, ", letter);
    return fmt::format(".TP\n{}\\fB\\-\\-{}\\fR{}\n{}\n", alias, escape(flag), value, escape(help));
}

// Formats an example as it is typed.
std::string example(const std::vector<std::string_view>& lines) {
    std::string text = ".PP\n.nf\n.RS 4\n";
    for (const std::string_view line : lines) text += escape(line) + '\n';
    return text + ".RE\n.fi\n";
}

std::string synopsis() {
    std::string text = heading("SYNOPSIS");
    for (const Side side : {Side::kRecv, Side::kSend}) {
        text += fmt::format(".B {}\n", escape(command_name(side)));
        for (const Option& option : kOptions) {
            if (!option.required || !option_applies(option, side)) continue;
            text += fmt::format("\\fB\\-\\-{}\\fR \\fI{}\\fR\n", escape(option.key),
                                escape(value_name_of(option)));
        }
        text += "[\\fIoptions\\fR]\n.br\n";
    }
    text += ".B migrate status\n[\\fB\\-\\-json\\fR]\n.br\n";
    text += ".B migrate probe\n[\\fB\\-\\-json\\fR]\n.br\n";
    text +=
        ".B migrate bench\n\\fB\\-\\-list\\fR|\\fINAME\\fR... \\fB\\-\\-out\\fR \\fIDIR\\fR "
        "[\\fIoptions\\fR]\n.br\n";
    return text +
           ".B migrate "
           "help\n[\\fBsend\\fR|\\fBrecv\\fR|\\fBstatus\\fR|\\fBprobe\\fR|\\fBbench\\fR]\n";
}

std::string description() {
    return heading("DESCRIPTION") +
           "Moves a guest's memory to another host over parallel TCP channels, in the style of "
           "QEMU's multifd. Each channel looks for zero pages on its own thread.\n" +
           roff_paragraph("'migrate send': " + std::string(command_summary(Side::kSend))) +
           roff_paragraph("'migrate recv': " + std::string(command_summary(Side::kRecv))) +
           roff_paragraph("'migrate status': " + std::string(status_summary()) +
                          " --json prints a JSON list.") +
           roff_paragraph("'migrate probe': " + std::string(probe_summary()) +
                          " --json prints one JSON object.") +
           roff_paragraph("'migrate bench': " + std::string(bench_summary())) +
           roff_paragraph(
               "Every option is a flag and, without the dashes, a key of the JSON file that "
               "--config names; the flags for help and configuration are flags only. A flag wins "
               "over the file, "
               "and "
               "the file wins over the default.");
}

std::string side_note(const Option& option) {
    if (option.side == OptionSide::kBoth) return "";
    const Side side = option.side == OptionSide::kSend ? Side::kSend : Side::kRecv;
    return option.negotiated ? fmt::format(" For '{}'; the receiver follows.", command_name(side))
                             : fmt::format(" For '{}'.", command_name(side));
}

// The forms of an option's value as a list within its entry, and the words of each within that.
std::string forms(const Option& option) {
    if (option.forms == nullptr) return "";
    std::string text = ".RS\n";
    for (const Form& form : option.forms->forms) {
        text += fmt::format(".TP\n\\fB{}\\fR\n{}\n", escape(form_syntax(form)), escape(form.help));
        if (form.words.empty()) continue;
        text += ".RS\n";
        for (const Option& word : form.words) {
            text += fmt::format(".TP\n\\fB{}\\fR=\\fI{}\\fR\n{}\n", escape(word.key),
                                escape(value_name_of(word)), escape(describe(word)));
        }
        text += ".RE\n";
    }
    return text + ".RE\n";
}

std::string options() {
    std::string text = heading("OPTIONS");
    for (const OptionSection section : all_sections()) {
        text += fmt::format(".SS {}\n", section_title(section));
        for (const Option& option : kOptions) {
            if (option.section != section) continue;
            text +=
                entry("", option.key, value_name_of(option), describe(option) + side_note(option));
            text += forms(option);
        }
    }
    text += ".SS Configuration and help\n";
    for (const CommandFlag& flag : kCommandFlags)
        text += entry(flag.letter, flag.name, flag.value_name, flag.help);
    text += ".SS Flags of 'migrate bench'\n";
    for (const CommandFlag& flag : kBenchFlags) {
        if (flag.name != "help") text += entry(flag.letter, flag.name, flag.value_name, flag.help);
    }
    return text + roff_paragraph(unit_note());
}

std::string exit_status() {
    std::string text = heading("EXIT STATUS");
    for (const OutcomeRow& row : kOutcomes) {
        text += fmt::format(".TP\n.B {} ({})\n{}\n", row.exit_code, escape(row.word),
                            escape(row.meaning));
    }
    return text + roff_paragraph(
                      "With --json the last and only line of standard output is a JSON object: "
                      "outcome (the word), exit-code, reason, guest-owner (source, destination, "
                      "unknown, or none without a guest), side, status, total-time, setup-time and "
                      "downtime in milliseconds, transferred in bytes, pages.");
}

std::string examples() {
    return heading("EXAMPLES") + "On one machine, in two terminals:\n" +
           example({"migrate recv --listen 127.0.0.1:4444 --sink anon:",
                    "migrate send --connect 127.0.0.1:4444 --source anon:1G,fill=mixed:50"}) +
           roff_paragraph(
               "From one host to another, encrypted, over 8 channels, with a check at the end:") +
           example({"migrate recv --listen 0.0.0.0:4444 --sink file:/var/tmp/guest.mem \\",
                    "    --tls-creds x509",
                    "migrate send --connect HOST:4444 --source file:/dev/shm/guest.mem \\",
                    "    --tls-creds x509 --multifd-channels 8 --verify digest"}) +
           roff_paragraph("A configuration file for both commands:") +
           example({"{", "    \"io-timeout\": \"10s\",",
                    "    \"send\": { \"connect\": \"127.0.0.1:4444\", \"source\": \"anon:1G\" },",
                    "    \"recv\": { \"listen\": \"127.0.0.1:4444\", \"sink\": \"anon:\" }", "}"});
}

std::string files() {
    return heading("FILES") +
           "Only files that an option names are read. A file that receives memory gets its name "
           "only when it is complete.\n";
}

}  // namespace

std::string man_page() {
    // The date is empty, so that the page changes only with the program. The text is left-aligned,
    // because the words of some options are too long for lines of equal width.
    return fmt::format(".TH MIGRATE 1 \"\" \"migrate {}\" \"User Commands\"\n.ad l\n", kVersion) +
           heading("NAME") + "migrate \\- live migration of guest memory over parallel channels\n" +
           synopsis() + description() + options() + exit_status() + examples() + files() +
           heading("SEE ALSO") + ".BR qemu\\-system\\-x86_64 (1)\n";
}

}  // namespace migrate::cli
