// SPDX-License-Identifier: Apache-2.0
#include "bench/markdown.hpp"

#include <fmt/format.h>

#include "bench/headline.hpp"

namespace migrate::bench {
namespace {

std::string cell(const std::string& text) {
    std::string escaped;
    for (const char c : text) {
        if (c == '|') escaped += '\\';
        escaped += c == '\n' ? ' ' : c;
    }
    return escaped;
}

std::string line(const std::vector<std::string>& cells) {
    std::string text = "|";
    for (const std::string& each : cells) text += ' ' + cell(each) + " |";
    return text + '\n';
}

}  // namespace

std::string markdown_table(const Table& table) {
    std::string text = fmt::format("**{}**\n\n{}", table.title, line(table.header));
    text += line(std::vector<std::string>(table.header.size(), "---"));
    for (const auto& row : table.rows) text += line(row);
    return text + '\n';
}

std::string markdown_report(const Json& results) {
    std::string text = "# migrate bench\n\n";
    if (const std::string warning = mode_warning(results); !warning.empty()) {
        text += "**" + warning + "**\n\n";
    }
    for (const Json& scenario : results.at("scenarios")) {
        const Headline headline = headline_of(scenario);
        text += fmt::format("- **{}{}{}**: {}\n", text_at(scenario, "name"),
                            headline.ratio.empty() ? "" : ", ", headline.ratio, headline.sentence);
    }
    text += '\n' + markdown_table(host_table(results));
    for (const Json& scenario : results.at("scenarios")) {
        text += fmt::format("## {}: {}\n\n{}\n\n", text_at(scenario, "name"),
                            text_at(scenario, "title"), text_at(scenario, "about"));
        for (const Table& table : tables_of(scenario)) text += markdown_table(table);
        for (const std::string& note : notes_of(scenario)) text += "- " + note + '\n';
        text += '\n';
    }
    return text;
}

}  // namespace migrate::bench
