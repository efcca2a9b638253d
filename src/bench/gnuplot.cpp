// SPDX-License-Identifier: Apache-2.0
#include "bench/gnuplot.hpp"

#include <regex>

#include "bench/child.hpp"
#include "bench/results.hpp"
#include "bench/transfer.hpp"

namespace migrate::bench {
namespace {

namespace fs = std::filesystem;
constexpr const char* kGnuplot = "gnuplot";
constexpr std::chrono::seconds kTimeout{30};

void replace_all(std::string& text, const std::string& what, const std::string& by) {
    for (std::size_t at = text.find(what); at != std::string::npos;
         at = text.find(what, at + by.size()))
        text.replace(at, what.size(), by);
}

// Makes a drawing fit into a page beside others.
std::string for_page(std::string svg, const std::string& id) {
    svg.erase(0, std::min(svg.find("<svg"), svg.size()));
    svg = std::regex_replace(svg, std::regex("\\bid=(['\"])"), "id=$1" + id);
    replace_all(svg, "xlink:href='#", "xlink:href='#" + id);
    replace_all(svg, "url(#", "url(#" + id);
    // Black becomes the page's text colour, which is light on a dark page.
    replace_all(svg, "color=\"black\"", "");
    replace_all(svg, "stroke=\"black\"", "stroke=\"currentColor\"");
    replace_all(svg, "fill=\"black\"", "fill=\"currentColor\"");
    replace_all(svg, "rgb(  0,   0,   0)", "currentColor");
    replace_all(svg, "rgb(0,0,0)", "currentColor");
    return svg;
}

}  // namespace

std::string gnuplot_missing() {
    const std::string missing = program_missing(kGnuplot, "gnuplot-nox");
    return missing.empty() ? "" : "the report has no charts: " + missing;
}

Result<std::string> draw_svg(const std::string& script, const std::string& id, int width,
                             int height, const fs::path& folder, int stop_fd) {
    const fs::path input = folder / "chart.gp";
    const fs::path output = folder / "chart.svg";
    const std::string head = fmt::format(
        "set terminal svg size {},{} dynamic noenhanced font 'sans-serif,13'\n"
        "set output '{}'\nset encoding utf8\n",
        width, height, output.string());
    MIGRATE_TRY(write_file(input, head + script + "\nunset output\n"));
    MIGRATE_ASSIGN(Child gnuplot, Child::start(kGnuplot, {input.string()}, folder / "chart.log"));
    MIGRATE_ASSIGN(const Ended ended, gnuplot.wait(Child::Clock::now() + kTimeout, stop_fd));
    std::string svg = file_content(output);
    if (ended.code != 0 || svg.find("</svg>") == std::string::npos) {
        return make_error("gnuplot could not draw {}: {}", id, gnuplot.words());
    }
    return for_page(std::move(svg), id);
}

}  // namespace migrate::bench
