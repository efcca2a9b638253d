// SPDX-License-Identifier: Apache-2.0
// Tables, Markdown, HTML and charts, out of canned raw results.
#include <fmt/format.h>

#include "bench/canned_results.hpp"
#include "bench/charts.hpp"
#include "bench/figures.hpp"
#include "bench/headline.hpp"
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
    CHECK(tables[0].header == std::vector<std::string>{"thread, run time in ms", "base <CPU>"});
    CHECK(row(tables[0], "total (whole ms)")[1] == "4000");
    CHECK(tables[1].title.starts_with("Measured here"));
    CHECK(row(tables[1], "total (whole ms)")[1] == "120");
    CHECK(row(tables[1], "guest memory")[1] == "touched zeros, read");
    CHECK(row(tables[2], "base <CPU>")[1] == "10343");
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
    const Drawing drawing{
        "drawn", {{"us", "#3b82c4", LegendEntry::Mark::kFull}}, "<svg>w</svg>", "<svg>n</svg>"};
    const std::string page = html_report(test::results("DSA"), {{"canned", {drawing}}}, "");
    CHECK(page.find("base &lt;CPU&gt;") != std::string::npos);
    CHECK(page.find("base <CPU>") == std::string::npos);
    CHECK(page.find(
              "<figcaption>drawn</figcaption>\n<ul class=\"legend\"><li><i class=\"full\" "
              "style=\"color: #3b82c4\"></i>us</li></ul>\n<div class=\"wide\"><svg>w</svg></div>\n"
              "<div class=\"narrow\"><svg>n</svg></div>") != std::string::npos);
    for (const char* outside : {"<script", "http:", "https:", "<link", "<img"})
        CHECK(page.find(outside) == std::string::npos);
    CHECK(html_report(test::results("DSA"), {}, "no gnuplot").find("no gnuplot") !=
          std::string::npos);
}

TEST_CASE("the page begins with a ratio and a sentence for each scenario") {
    const std::string page = html_report(test::results("DSA"), {}, "");
    const std::size_t story = page.find("<ol class=\"story\">");
    REQUIRE(story != std::string::npos);
    CHECK(story < page.find("<h2"));
    // 3 ms here, 10343 ms published.
    CHECK(page.find("0.000 ×", story) < page.find("<h2"));
    CHECK(page.find("'base &lt;CPU&gt;' is 0.000 × the published one", story) != std::string::npos);
}

TEST_CASE("quick and scaled runs say so on the page and in Markdown") {
    Json canned = test::results("DSA");
    const std::string words =
        "Quick run: small guests and few repeats, all sizes × 0.5. These figures show";
    CHECK(html_report(canned, {}, "").find(words) != std::string::npos);
    CHECK(markdown_report(canned).find("**" + words) != std::string::npos);
    canned["mode"]["quick"] = false;
    CHECK(mode_warning(canned).starts_with("All sizes × 0.5."));
    canned["mode"]["scale"] = 1;
    CHECK(mode_warning(canned).empty());
    CHECK(html_report(canned, {}, "").find("class=\"warning\"") == std::string::npos);
}

TEST_CASE("each cell of the page names its column, for pages on which rows are blocks") {
    const std::string page = html_report(test::results("DSA"), {}, "");
    CHECK(page.find("<td data-name=\"throughput (GiB/s)\">333.33") != std::string::npos);
    CHECK(page.find("@media (max-width: 640px)") != std::string::npos);
}

TEST_CASE("published and measured bars have one name and one colour, and measured ones a spread") {
    for (const PageWidth width : {PageWidth::kWide, PageWidth::kNarrow}) {
        const auto charts = charts_of(scenario(), width);
        REQUIRE(charts.size() == 3);
        const std::string& speed = charts[2].script;
        INFO(speed);
        // One label for both bars.
        const std::size_t label = speed.find("'base <CPU>'");
        REQUIRE(label != std::string::npos);
        CHECK(speed.find("'base <CPU>'", label + 1) == std::string::npos);
        REQUIRE(charts[2].legend.size() == 1);
        CHECK(charts[2].legend[0].text == "migrate, measured here");
        CHECK(charts[2].legend[0].colour == "#3b82c4");
        CHECK(speed.find("xerrorbars") != std::string::npos);
        CHECK(charts[2].title.find("GiB/s") != std::string::npos);
        // The threads' charts: the same label, and the same colour for a thread.
        for (const std::size_t at : {0U, 1U}) {
            CHECK(charts[at].script.find("'base <CPU>'") != std::string::npos);
            REQUIRE(charts[at].legend.size() == 2);
            CHECK(charts[at].legend[1].text == "multifdsend_0");
            CHECK(charts[at].legend[1].colour == "#e08a2e");
        }
        CHECK((charts[2].width < 400) == (width == PageWidth::kNarrow));
    }
}

TEST_CASE("a published speed is beside the measured one") {
    Json canned = scenario();
    canned["variants"][0]["published"]["gb-per-s"] = 9.5;
    const Chart chart = charts_of(canned, PageWidth::kWide)[2];
    INFO(chart.script);
    CHECK(chart.script.find("$bar1 << EOD\n9.5 -1\nEOD") != std::string::npos);
    REQUIRE(chart.legend.size() == 2);
    CHECK(chart.legend[1].text == "published, another machine");
    CHECK(chart.legend[1].colour == chart.legend[0].colour);
    CHECK(chart.legend[1].mark == LegendEntry::Mark::kLight);
}

TEST_CASE("a distribution is drawn as steps, from no run to all") {
    Json canned = scenario();
    canned["tables"] = {"live"};
    double ms = 1;
    for (Json& run : canned["runs"]) {
        if (!run.contains("error")) run["send"]["downtime-us"] = 1000 * ms++;
    }
    const auto charts = charts_of(canned, PageWidth::kWide);
    REQUIRE(charts.size() == 2);
    INFO(charts[1].script);
    CHECK(charts[1].script.find("with steps") != std::string::npos);
    // The timed runs of the first variant took 3, 5 and 7 ms.
    CHECK(charts[1].script.find("3 0 0 0\n3 33.3333") != std::string::npos);
    CHECK(charts[1].script.find("\n7 100 100 100\nEOD") != std::string::npos);
}

TEST_CASE("charts keep labels out of gnuplot's syntax") {
    Json canned = scenario();
    canned["variants"][0]["label"] = "it's \"a\" `date` $x_y\nEOD";
    for (const PageWidth width : {PageWidth::kWide, PageWidth::kNarrow}) {
        const auto charts = charts_of(canned, width);
        CHECK(charts.size() == 3);
        for (const Chart& chart : charts) {
            INFO(chart.script);
            CHECK(chart.script.find("it's") == std::string::npos);
            CHECK(chart.script.find("`") == std::string::npos);
            CHECK(chart.script.find("$x_y\nEOD") == std::string::npos);
        }
    }
}

TEST_CASE("a bar is as long as its part") {
    CHECK(bar(1, 2, 4) == "██");
    CHECK(bar(5, 2, 2) == "██");
    CHECK(bar(1, 16, 8) == "▌");
    CHECK(bar(0, 2, 4).empty());
    CHECK(bar(1, 0, 4).empty());
}
