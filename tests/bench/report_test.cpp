// Tables, Markdown, HTML and charts, out of canned raw results.
#include <fmt/format.h>

#include "bench/canned_results.hpp"
#include "bench/charts.hpp"
#include "bench/figures.hpp"
#include "bench/html.hpp"
#include "bench/markdown.hpp"
#include "bench/tables.hpp"
#include "bench/terminal.hpp"
#include "catch.hpp"

using namespace migrate::bench;

namespace {

const std::vector<std::string>& row(const Table& table, const std::string& first) {
    for (const auto& each : table.rows) {
        if (each.front() == first) return each;
    }
    FAIL("no row " << first << " in " << table.title);
    return table.rows.front();
}

Json scenario(const char* device = "DSA") { return test::results(device)["scenarios"][0]; }

}  // namespace

TEST_CASE("warm-ups and failed runs are in no figure") {
    const Json canned = scenario();
    CHECK(series(canned, "base", "total-time") == std::vector<double>{2, 3, 4});
    CHECK(series(canned, "base", "gb-per-s")[1] == Approx(1000.0 / 3));
    CHECK(series(canned, "dsa", "cpu-ms") == std::vector<double>{100, 100, 100});
    CHECK(series(canned, "large", "total-time").empty());
    CHECK(series(canned, "base", "no-such-figure").empty());
}

TEST_CASE("the column of threads is the run with the median total, and its total adds up") {
    const Json canned = scenario();
    const ThreadMs threads = threads_of_run(*median_run(canned, "base"));
    REQUIRE(threads.size() == 2);
    CHECK(threads[0] == std::pair<std::string, double>("live_migration", 10.9));
    CHECK(threads[1].second == 110);
    CHECK(total_of(threads) == 120);
    CHECK(median_run(canned, "large") == nullptr);
}

TEST_CASE("published and measured figures are in tables of their own") {
    const auto tables = tables_of(scenario());
    REQUIRE(tables.size() == 6);
    CHECK(tables[0].title == "Published (nobody)");
    CHECK(tables[0].header == std::vector<std::string>{"thread, run time in ms", "base"});
    CHECK(row(tables[0], "total (whole ms)")[1] == "4000");
    CHECK(tables[1].title.starts_with("Measured here"));
    CHECK(row(tables[1], "total (whole ms)")[1] == "120");
    CHECK(row(tables[1], "guest memory")[1] == "touched zeros, read");
    CHECK(row(tables[2], "base")[1] == "10343");
    const auto measured = row(tables[3], "base <CPU>");
    CHECK(measured[1] == "1.00 GiB");
    CHECK(measured[4] == "3 (2 … 4)");
    for (const Table& table : tables) {
        for (const auto& each : table.rows) CHECK(each.size() == table.header.size());
    }
}

TEST_CASE("savings are quoted of hardware and never of the software device") {
    CHECK(row(tables_of(scenario("DSA"))[1], "saving, of the totals")[2] == "50.0 %");
    const std::vector<Table> tables = tables_of(scenario("software DSA"));
    const auto software = row(tables[1], "saving, of the totals");
    CHECK(software[2].find('%') == std::string::npos);
    CHECK(software[2].find("software device") != std::string::npos);
}

TEST_CASE("the report names skipped and failed runs") {
    std::string all;
    for (const std::string& note : notes_of(scenario())) all += note + '\n';
    CHECK(all.find("large: skipped: too large") != std::string::npos);
    CHECK(all.find("base, turn 4: failed: it broke\n") != std::string::npos);
    CHECK(bars_text(scenario()).find("skipped: too large") != std::string::npos);
}

TEST_CASE("the Markdown report keeps its cells apart") {
    const std::string text = markdown_report(test::results("DSA"));
    CHECK(text.find("## canned: made up") != std::string::npos);
    CHECK(text.find("| total (whole ms) | 120 | 60 |") != std::string::npos);
    CHECK(markdown_table({"t", {"a|b"}, {{"c\nd"}}}) == "**t**\n\n| a\\|b |\n| --- |\n| c d |\n\n");
}

TEST_CASE("the page escapes text and refers to nothing outside") {
    const std::string page =
        html_report(test::results("DSA"), {{"canned", {{"drawn", "<svg></svg>"}}}}, "");
    CHECK(page.find("base &lt;CPU&gt;") != std::string::npos);
    CHECK(page.find("base <CPU>") == std::string::npos);
    CHECK(page.find("<figcaption>drawn</figcaption>\n<svg></svg>") != std::string::npos);
    for (const char* outside : {"<script", "http:", "https:", "<link", "<img"})
        CHECK(page.find(outside) == std::string::npos);
    CHECK(html_report(test::results("DSA"), {}, "no gnuplot").find("no gnuplot") !=
          std::string::npos);
}

TEST_CASE("charts keep labels out of gnuplot's syntax") {
    Json canned = scenario();
    canned["variants"][0]["label"] = "it's \"a\" `date` $x_y\nEOD";
    const auto charts = charts_of(canned);
    CHECK(charts.size() == 3);
    for (const Chart& chart : charts) {
        INFO(chart.script);
        CHECK(chart.script.find("it's") == std::string::npos);
        CHECK(chart.script.find("`") == std::string::npos);
        CHECK(chart.script.find("$x_y\nEOD") == std::string::npos);
    }
}

TEST_CASE("a bar is as long as its part") {
    CHECK(bar(1, 2, 4) == "██");
    CHECK(bar(5, 2, 2) == "██");
    CHECK(bar(1, 16, 8) == "▌");
    CHECK(bar(0, 2, 4).empty());
    CHECK(bar(1, 0, 4).empty());
}
