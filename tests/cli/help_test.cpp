// SPDX-License-Identifier: Apache-2.0
#include "cli/help.hpp"

#include <algorithm>
#include <sstream>

#include "base/outcome.hpp"
#include "cli/man_page.hpp"
#include "cli/markdown.hpp"
#include "cli_test_support.hpp"

using namespace migrate;
using namespace migrate::cli;
using namespace migrate::cli::test;

namespace {

std::size_t columns(std::string_view line) {
    return static_cast<std::size_t>(std::count_if(line.begin(), line.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
    }));
}

std::string without_newlines(std::string_view text) {
    std::istringstream words{std::string(text)};
    std::string joined;
    for (std::string word; words >> word;) {
        if (!joined.empty()) joined += ' ';
        joined += word;
    }
    return joined;
}

}  // namespace

TEST_CASE("a command's help shows its own options with default and range, and no others") {
    for (const Side side : {Side::kSend, Side::kRecv}) {
        const std::string text = without_newlines(command_help_text(side, HelpPart::kAll));
        for (const Option& option : kOptions) {
            const std::string line =
                fmt::format("--{} {} {}", option.key, value_name_of(option), describe(option));
            INFO(line);
            CHECK(contains(text, line) == option_applies(option, side));
            if (option.forms == nullptr || !option_applies(option, side)) continue;
            for (const Form& form : option.forms->forms) {
                CHECK(contains(text, fmt::format("{} {}", form_syntax(form), form.help)));
                for (const Option& word : form.words) {
                    INFO(word.key);
                    CHECK(contains(text, fmt::format("{} {}", word_syntax(word), describe(word))));
                }
            }
        }
        for (const CommandFlag& flag : kCommandFlags) {
            CHECK(contains(text, fmt::format("--{}", flag.name)));
        }
    }
    CHECK(contains(describe(kOptions[option_index<"multifd-channels">()]),
                   "(default auto; range 1 … 255 or auto)"));
    CHECK(contains(describe(kOptions[option_index<"listen">()]), "(required)"));
    CHECK(contains(describe(kOptions[option_index<"connect">()]), "(required without path)"));
}

TEST_CASE("no line of the help is wider than a terminal of 100 columns or ends in a blank") {
    for (const std::string& text : {overview_text(), command_help_text(Side::kSend, HelpPart::kAll),
                                    command_help_text(Side::kRecv, HelpPart::kAll),
                                    command_help_text(Side::kSend, HelpPart::kEveryday),
                                    command_help_text(Side::kRecv, HelpPart::kEveryday),
                                    probe_help_text(), status_help_text()}) {
        CHECK(text.ends_with('\n'));
        std::istringstream lines(text);
        for (std::string line; std::getline(lines, line);) {
            INFO(line);
            CHECK(columns(line) <= 100);
            CHECK_FALSE(line.ends_with(' '));
        }
    }
}

TEST_CASE("a command's help shows the everyday options, and the way to the others") {
    for (const Side side : {Side::kSend, Side::kRecv}) {
        const std::string text = without_newlines(command_help_text(side, HelpPart::kEveryday));
        std::size_t shown = 0;
        for (const Option& option : kOptions) {
            const std::string line =
                fmt::format("--{} {} {}", option.key, value_name_of(option), describe(option));
            INFO(line);
            const bool expected =
                option_applies(option, side) && (option.everyday || option.required);
            CHECK(contains(text, line) == expected);
            shown += expected ? 1 : 0;
        }
        CHECK(shown >= 8);
        CHECK(shown <= 15);
        CHECK(contains(text, fmt::format("'{} --help all' shows", command_name(side))));
    }
}

TEST_CASE("help comes in two steps, whatever else is on the line") {
    const auto text_of = [](std::initializer_list<const char*> words) {
        const auto parsed = parse(words);
        REQUIRE(parsed);
        CHECK(parsed->command == Command::kHelp);
        return parsed->text;
    };
    const std::string everyday = command_help_text(Side::kSend, HelpPart::kEveryday);
    const std::string all = command_help_text(Side::kSend, HelpPart::kAll);
    CHECK(text_of({"send", "--help"}) == everyday);
    CHECK(text_of({"send", "-h", "--source", "x"}) == everyday);
    CHECK(text_of({"help", "send"}) == everyday);
    CHECK(text_of({"send", "--help", "all"}) == all);
    CHECK(text_of({"send", "--source", "x", "-h", "all"}) == all);
    CHECK(text_of({"help", "send", "all"}) == all);
    CHECK(text_of({"help", "recv", "all"}) == command_help_text(Side::kRecv, HelpPart::kAll));
    CHECK(contains(refusal({"help", "probe", "all"}), "takes no further argument: remove 'all'"));
}

// Checks that the command lines in a help are accepted. Returns their number.
int check_examples(std::string text) {
    for (std::size_t at = 0; (at = text.find("\\\n", at)) != std::string::npos;) text.erase(at, 2);
    std::istringstream lines(text);
    int examples = 0;
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::vector<std::string> args;
        for (std::string word; words >> word;) args.push_back(word);
        if (args.size() < 2 || args[0] != "migrate") continue;
        std::vector<const char*> pointers;
        for (std::size_t i = 1; i < args.size(); ++i) pointers.push_back(args[i].c_str());
        const auto parsed = parse_command_line(pointers);
        INFO(line);
        INFO((parsed ? std::string() : parsed.error().message()));
        CHECK(parsed);
        ++examples;
    }
    return examples;
}

TEST_CASE("the examples in the helps are command lines that work") {
    CHECK(check_examples(overview_text()) == 4);
    CHECK(check_examples(command_help_text(Side::kSend, HelpPart::kEveryday)) == 3);
    CHECK(check_examples(command_help_text(Side::kRecv, HelpPart::kEveryday)) == 3);
}

TEST_CASE("the man page has its sections and every option, in plain ASCII") {
    const std::string page = man_page();
    for (const char* title : {"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS",
                              "EXAMPLES", "FILES", "SEE ALSO"}) {
        CHECK(contains(page, fmt::format("\n.SH {}\n", title)));
    }
    CHECK(std::all_of(page.begin(), page.end(),
                      [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); }));
    for (const Option& option : kOptions) {
        std::string flag;
        for (const char c : option.key) {
            if (c == '-') flag += '\\';
            flag += c;
        }
        INFO(flag);
        CHECK(contains(page, "\\fB\\-\\-" + flag + "\\fR"));
        if (option.forms == nullptr) continue;
        for (const Form& form : option.forms->forms) {
            INFO(form.name);
            const std::string begin = form.name.empty()
                                          ? fmt::format("{}=", form.words.front().key)
                                          : fmt::format("{}{}", form.name, form.alone ? "" : ":");
            CHECK(contains(page, "\n\\fB" + begin));
        }
    }
}

TEST_CASE("help, man page and README have every exit code with its word and meaning") {
    for (const OutcomeRow& row : kOutcomes) {
        INFO(row.word);
        const std::string line = fmt::format("{} {} {}", row.exit_code, row.word, row.meaning);
        for (const std::string& text :
             {overview_text(), command_help_text(Side::kSend, HelpPart::kAll),
              command_help_text(Side::kRecv, HelpPart::kAll)}) {
            CHECK(contains(without_newlines(text), line));
        }
        CHECK(contains(exit_codes_markdown(),
                       fmt::format("| {} | `{}` | {} |", row.exit_code, row.word, row.meaning)));
        CHECK(contains(man_page(), fmt::format("\n.B {} (", row.exit_code)));
    }
}

TEST_CASE("groff has nothing to say against the man page") {
    if (!has_program("groff")) return;
    const TemporaryFile file(man_page());
    const auto result = run_shell("groff -ww -man -Tascii '" + file.path() + "' 2>&1 >/dev/null");
    CHECK(result.exit_code == 0);
    CHECK(result.output.empty());
}
