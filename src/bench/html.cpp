// SPDX-License-Identifier: Apache-2.0
#include "bench/html.hpp"

#include <fmt/format.h>

#include <cctype>

#include "bench/headline.hpp"
#include "bench/html_style.hpp"
#include "bench/tables.hpp"

namespace migrate::bench {
namespace {

// A longer cell that does not begin with a digit holds words and gets a minimum width.
constexpr std::size_t kLongestFigure = 24;

std::string class_of(const std::string& cell) {
    if (cell == "met" || cell == "missed") return cell;
    const bool words =
        cell.size() > kLongestFigure && std::isdigit(static_cast<unsigned char>(cell.front())) == 0;
    return words ? "words" : "";
}

// A cell names its column for pages on which rows are blocks; the first cell is the block's title.
std::string row_html(const std::vector<std::string>& row, const std::vector<std::string>& header) {
    std::string text = "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) {
        const std::string kind = class_of(row[i]);
        text += "<td";
        if (!kind.empty()) text += fmt::format(" class=\"{}\"", kind);
        if (i != 0) text += fmt::format(" data-name=\"{}\"", html_text(header.at(i)));
        text += fmt::format(">{}</td>", html_text(row[i]));
    }
    return text + "</tr>\n";
}

std::string table_html(const Table& table) {
    const bool published = table.title.starts_with("Published");
    std::string text =
        fmt::format("<h3>{}</h3>\n<div class=\"scroll\"><table class=\"{}\">\n<tr class=\"head\">",
                    html_text(table.title), published ? "published" : "measured");
    for (const std::string& cell : table.header)
        text += fmt::format("<th>{}</th>", html_text(cell));
    text += "</tr>\n";
    for (const auto& row : table.rows) text += row_html(row, table.header);
    return text + "</table></div>\n";
}

std::string_view class_of(Tone tone) {
    switch (tone) {
        case Tone::kBetter:
            return "better";
        case Tone::kWorse:
            return "worse";
        case Tone::kNeutral:
            break;
    }
    return "neutral";
}

// The ratio and the sentence of each scenario.
std::string story(const Json& results) {
    std::string text = "<ol class=\"story\">\n";
    for (const Json& scenario : results.at("scenarios")) {
        const Headline headline = headline_of(scenario);
        text += fmt::format(
            "<li><span class=\"ratio {}\">{}</span><span><b><a "
            "href=\"#{}\">{}</a></b>{}</span></li>\n",
            class_of(headline.tone), headline.ratio.empty() ? "–" : headline.ratio,
            html_text(text_at(scenario, "name")), html_text(text_at(scenario, "title")),
            html_text(headline.sentence));
    }
    return text + "</ol>\n";
}

std::string_view class_of(LegendEntry::Mark mark) {
    switch (mark) {
        case LegendEntry::Mark::kLight:
            return "light";
        case LegendEntry::Mark::kLine:
            return "line";
        case LegendEntry::Mark::kDashes:
            return "dashes";
        case LegendEntry::Mark::kFull:
            break;
    }
    return "full";
}

std::string legend_html(const std::vector<LegendEntry>& legend) {
    std::string text = "<ul class=\"legend\">";
    for (const LegendEntry& entry : legend) {
        text += fmt::format("<li><i class=\"{}\" style=\"color: {}\"></i>{}</li>",
                            class_of(entry.mark), html_text(entry.colour), html_text(entry.text));
    }
    return text + "</ul>\n";
}

std::string figures(const std::vector<Drawing>& drawings) {
    std::string text;
    for (const Drawing& drawing : drawings) {
        text += fmt::format(
            "<figure><figcaption>{}</figcaption>\n{}<div class=\"wide\">{}</div>\n<div "
            "class=\"narrow\">{}</div></figure>\n",
            html_text(drawing.title), legend_html(drawing.legend), drawing.wide, drawing.narrow);
    }
    return text;
}

std::string notes_html(const Json& scenario) {
    const auto notes = notes_of(scenario);
    if (notes.empty()) return "";
    std::string text = "<ul class=\"notes\">\n";
    for (const std::string& note : notes) text += fmt::format("<li>{}</li>\n", html_text(note));
    return text + "</ul>\n";
}

// The question, the answer, the charts, the goals, and all figures behind a click.
std::string section(const Json& scenario, const Drawings& drawings) {
    const std::string name = html_text(text_at(scenario, "name"));
    std::string text =
        fmt::format("<h2 id=\"{0}\">{0}: {1}</h2>\n<p>{2}</p>\n<p class=\"found\">{3}</p>\n", name,
                    html_text(text_at(scenario, "title")), html_text(text_at(scenario, "about")),
                    html_text(headline_of(scenario).sentence));
    if (const auto found = drawings.find(text_at(scenario, "name")); found != drawings.end()) {
        text += figures(found->second);
    }
    const Table goals = goals_table(scenario);
    if (!goals.rows.empty()) text += table_html(goals);
    text += notes_html(scenario) + "<details><summary>All figures</summary>\n";
    for (const Table& table : tables_of(scenario)) {
        if (table.title != goals.title) text += table_html(table);
    }
    return text + "</details>\n";
}

// "2026-11-30 07:26 UTC" of "2026-11-30T07:26:49.621Z".
std::string minute_of(const std::string& time) {
    constexpr std::size_t kDay = 10;
    constexpr std::size_t kMinute = 16;
    if (time.size() < kMinute) return time;
    return fmt::format("{} {} UTC", time.substr(0, kDay),
                       time.substr(kDay + 1, kMinute - kDay - 1));
}

}  // namespace

std::string html_text(std::string_view text) {
    std::string escaped;
    for (const char c : text) {
        switch (c) {
            case '&':
                escaped += "&amp;";
                break;
            case '<':
                escaped += "&lt;";
                break;
            case '>':
                escaped += "&gt;";
                break;
            case '"':
                escaped += "&quot;";
                break;
            default:
                escaped += c;
        }
    }
    return escaped;
}

std::string html_report(const Json& results, const Drawings& drawings, const std::string& missing) {
    const Json& host = results.at("host");
    std::string text(kHtmlHead);
    text += fmt::format(
        "<h1>What migrate bench found</h1>\n<p class=\"where\">{} × {}, <time>{}</time>. <a "
        "href=\"#machine\">The machine</a> is described at the end.</p>\n",
        host.value("cpus", 0), html_text(text_at(host, "cpu")),
        html_text(minute_of(text_at(results, "started"))));
    if (const std::string warning = mode_warning(results); !warning.empty()) {
        text += fmt::format("<p class=\"warning\">{}</p>\n", html_text(warning));
    }
    if (!missing.empty()) text += fmt::format("<p class=\"missing\">{}</p>\n", html_text(missing));
    text += story(results);
    for (const Json& scenario : results.at("scenarios")) text += section(scenario, drawings);
    text += "<h2 id=\"machine\">The machine</h2>\n" + table_html(host_table(results));
    return text + "</body>\n</html>\n";
}

}  // namespace migrate::bench
