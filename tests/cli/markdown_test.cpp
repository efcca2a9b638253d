// SPDX-License-Identifier: Apache-2.0
#include "cli/markdown.hpp"

#include <algorithm>
#include <sstream>

#include "cli/bench_command.hpp"
#include "cli/help.hpp"
#include "cli_test_support.hpp"

using namespace migrate;
using namespace migrate::cli;
using namespace migrate::cli::test;

namespace {

// The line of the page that begins with `start`; empty if there is none.
std::string line_of(const std::string& page, std::string_view start) {
    std::istringstream lines(page);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with(start)) return line;
    }
    return "";
}

std::size_t unescaped_bars(std::string_view line) {
    std::size_t bars = 0;
    for (std::size_t i = 0; i < line.size(); ++i) {
        if (line[i] == '|' && (i == 0 || line[i - 1] != '\\')) ++bars;
    }
    return bars;
}

}  // namespace

TEST_CASE("the options page has one row for every option, with its help") {
    const std::string page = options_page();
    for (const Option& option : kOptions) {
        const std::string row = line_of(page, fmt::format("| `--{} ", option.key));
        INFO(option.key);
        CHECK(unescaped_bars(row) == 8);
        CHECK(contains(row, option.negotiated ? " | yes | " : " | "));
        CHECK(contains(row, "*Adjustable.*") == option.live);
        if (!option.default_text.empty()) {
            CHECK(contains(row, fmt::format("| `{}` |", option.default_text)));
        }
    }
}

TEST_CASE("the options page groups options as the help does") {
    const std::string page = options_page();
    std::size_t previous = 0;
    for (const OptionSection section : all_sections()) {
        const std::size_t at = page.find(fmt::format("\n## {}\n", section_title(section)));
        INFO(section_title(section));
        REQUIRE(at != std::string::npos);
        CHECK(at > previous);
        previous = at;
    }
}

TEST_CASE("the options page shows command, default, range, unit and negotiation in columns") {
    const std::string page = options_page();
    CHECK(contains(page, "| `--multifd-channels N` | send | `auto` | 1 … 255 or auto | | yes | "));
    CHECK(contains(page,
                   "| `--multifd-packet-size SIZE` | send | `512K` | 4K … 4M, a multiple of 4K | "
                   "bytes | yes | "));
    CHECK(contains(page, "| `--io-timeout TIME` | both | `30s` | 100ms … 24h | ms | | "));
    CHECK(contains(page, "| `--listen HOST:PORT` | recv | required | port 0 … 65535 | | | "));
    CHECK(contains(page, "| `--connect HOST:PORT` | send | required without `--path` | port 1 … "));
    CHECK(
        contains(page, R"(| `--multifd-compression none\|lz4\|zstd` | send | `none` | | | yes |)"));
}

TEST_CASE("the options page has a row for every form and every word of an option") {
    const std::string page = options_page();
    for (const Option& option : kOptions) {
        if (option.forms == nullptr) continue;
        const std::size_t at =
            page.find(fmt::format("\n### {} of `--{}`\n", value_name_of(option), option.key));
        INFO(option.key);
        REQUIRE(at != std::string::npos);
        const std::string table = page.substr(at, page.find("\n#", at + 1) - at);
        for (const Form& form : option.forms->forms) {
            INFO(form.name);
            const std::string begin = form.name.empty()
                                          ? fmt::format("{}=", form.words.front().key)
                                          : fmt::format("{}{}", form.name, form.alone ? "" : ":");
            CHECK(unescaped_bars(line_of(table, "| `" + begin)) == 7);
            for (const Option& word : form.words) {
                const std::string row = line_of(table, fmt::format("| | `{}=", word.key));
                INFO(word.key);
                CHECK(unescaped_bars(row) == 7);
            }
        }
    }
}

TEST_CASE("the options page has the flags that are no settings") {
    const std::string page = options_page();
    for (const CommandFlag& flag : kCommandFlags) {
        CHECK(contains(page, fmt::format("`--{}", flag.name)));
    }
    for (const CommandFlag& flag : kBenchFlags) {
        CHECK(contains(page, fmt::format("`--{}", flag.name)));
    }
}
