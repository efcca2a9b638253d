#include "bench/html.hpp"

#include <fmt/format.h>

#include <cctype>

#include "bench/tables.hpp"

namespace migrate::bench {
namespace {

constexpr std::string_view kHead = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>migrate bench</title>
<style>
:root { color-scheme: light dark; --back: #ffffff; --fore: #1d2329; --soft: #5c6670; --line: #d5dadf; --panel: #f6f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --back: #15191d; --fore: #e4e8ec; --soft: #9aa5af; --line: #353d45; --panel: #1d2328; }
}
body { background: var(--back); color: var(--fore); font: 15px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 1400px; padding: 24px; }
h1 { font-size: 26px; } h2 { border-top: 1px solid var(--line); font-size: 21px; margin-top: 40px; padding-top: 24px; }
h3 { font-size: 16px; margin-bottom: 6px; }
nav a { color: inherit; margin-right: 14px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin-bottom: 14px; }
th, td { border-bottom: 1px solid var(--line); padding: 4px 10px; text-align: right; vertical-align: top; }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child { min-width: 150px; text-align: left; }
td.words { min-width: 200px; }
table.published { background: var(--panel); }
figure { background: var(--panel); border-radius: 8px; margin: 16px 0; padding: 12px; }
figcaption { font-weight: 600; margin-bottom: 4px; }
figure svg { color: var(--fore); display: block; height: auto; max-width: min(100%, 1000px); }
figure svg text { fill: currentColor; }
ul.notes, .missing { color: var(--soft); }
</style>
</head>
<body>
)";

// A longer cell that does not begin with a digit holds words and gets a minimum width.
constexpr std::size_t kLongestFigure = 24;

std::string cells(const std::vector<std::string>& row, std::string_view tag) {
    std::string text = "<tr>";
    for (const std::string& cell : row) {
        const bool words = cell.size() > kLongestFigure &&
                           std::isdigit(static_cast<unsigned char>(cell.front())) == 0;
        text +=
            fmt::format("<{0}{1}>{2}</{0}>", tag, words ? " class=\"words\"" : "", html_text(cell));
    }
    return text + "</tr>\n";
}

std::string table_html(const Table& table) {
    const bool published = table.title.starts_with("Published");
    std::string text = fmt::format("<h3>{}</h3>\n<div class=\"scroll\"><table class=\"{}\">\n",
                                   html_text(table.title), published ? "published" : "measured");
    text += cells(table.header, "th");
    for (const auto& row : table.rows) text += cells(row, "td");
    return text + "</table></div>\n";
}

std::string section(const Json& scenario, const Drawings& drawings) {
    const std::string name = text_at(scenario, "name");
    std::string text =
        fmt::format("<h2 id=\"{}\">{}: {}</h2>\n<p>{}</p>\n", html_text(name), html_text(name),
                    html_text(text_at(scenario, "title")), html_text(text_at(scenario, "about")));
    for (const Table& table : tables_of(scenario)) text += table_html(table);
    if (const auto found = drawings.find(name); found != drawings.end()) {
        for (const auto& [title, svg] : found->second)
            text += fmt::format("<figure><figcaption>{}</figcaption>\n{}</figure>\n",
                                html_text(title), svg);
    }
    const auto notes = notes_of(scenario);
    if (notes.empty()) return text;
    text += "<ul class=\"notes\">\n";
    for (const std::string& note : notes) text += fmt::format("<li>{}</li>\n", html_text(note));
    return text + "</ul>\n";
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
    std::string text(kHead);
    text += "<h1>migrate bench</h1>\n<nav>";
    for (const Json& scenario : results.at("scenarios")) {
        const std::string name = html_text(text_at(scenario, "name"));
        text += fmt::format("<a href=\"#{0}\">{0}</a>", name);
    }
    text += "</nav>\n" + table_html(host_table(results));
    if (!missing.empty()) text += fmt::format("<p class=\"missing\">{}</p>\n", html_text(missing));
    for (const Json& scenario : results.at("scenarios")) text += section(scenario, drawings);
    return text + "</body>\n</html>\n";
}

}  // namespace migrate::bench
