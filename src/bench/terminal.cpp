// SPDX-License-Identifier: Apache-2.0
#include "bench/terminal.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/config/unit_text.hpp"
#include "base/output.hpp"
#include "bench/figures.hpp"
#include "bench/goals.hpp"
#include "bench/statistics.hpp"

namespace migrate::bench {
namespace {

constexpr std::size_t kBarWidth = 24;
constexpr std::size_t kLabelWidth = 44;

// Cuts or fills the text to that many columns; every character of a label is one column wide.
std::string fitted(std::string text, std::size_t width) {
    std::size_t columns = 0;
    std::size_t at = 0;
    for (; at < text.size(); ++at) {
        const bool begins = (static_cast<unsigned char>(text[at]) & 0xC0U) != 0x80U;
        if (begins && columns++ == width) break;
    }
    text.resize(at);
    return text + std::string(width - std::min(width, columns), ' ');
}

// The figure of the scenario's bars: downtime for running guests, total time otherwise.
std::string_view shown_figure(const Json& scenario) {
    for (const Json& table : scenario.at("tables")) {
        if (table == "live" || table == "percentiles") return "downtime";
    }
    return "total-time";
}

}  // namespace

std::string bar(double part, double whole, std::size_t width) {
    constexpr std::array<std::string_view, 8> kEighths{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    if (!(whole > 0) || !(part > 0)) return "";
    const double cells = std::min(part / whole, 1.0) * static_cast<double>(width);
    const auto eighths = static_cast<std::size_t>(std::lround(cells * 8));
    std::string text;
    for (std::size_t i = 0; i < eighths / 8; ++i) text += "█";
    return text + std::string(kEighths[eighths % 8]);
}

std::string bars_text(const Json& scenario) {
    const std::string_view name = shown_figure(scenario);
    double longest = 0;
    for (const Json& variant : scenario.at("variants"))
        longest = std::max(longest, median(series(scenario, text_at(variant, "name"), name)));
    std::string text = fmt::format("\n{}: {} in ms, median\n", text_at(scenario, "name"),
                                   name == "downtime" ? "downtime" : "total time");
    for (const Json& variant : scenario.at("variants")) {
        const std::string label = fitted(text_at(variant, "label"), kLabelWidth);
        const auto values = series(scenario, text_at(variant, "name"), name);
        if (variant.contains("skipped")) {
            text += fmt::format("  {} skipped: {}\n", label, text_at(variant, "skipped"));
        } else if (values.empty()) {
            text += fmt::format("  {} –\n", label);
        } else {
            text += fmt::format("  {} {:>10.1f} {}\n", label, median(values),
                                bar(median(values), longest, kBarWidth));
        }
    }
    return text;
}

std::string goals_text(const Json& scenario) {
    std::string text;
    for (const Verdict& verdict : judge(scenario)) {
        text += fmt::format("  goal {}: {}: {}; wanted {}\n", word_of(verdict.state), verdict.goal,
                            verdict.found, verdict.wanted);
    }
    return text;
}

void Terminal::clear() const {
    if (live_) output::to_stderr("\r\033[K");
}

void Terminal::begin_run(std::string_view what) {
    if (!live_) return;
    const std::chrono::duration<double, std::milli> gone =
        std::chrono::steady_clock::now() - began_;
    std::string left;
    if (done_ > 0) {
        const double ms =
            gone.count() / static_cast<double>(done_) * static_cast<double>(runs_ - done_);
        left = fmt::format(", about {} left",
                           format_duration_ms(static_cast<std::uint64_t>(ms) / 1000 * 1000));
    }
    clear();
    output::to_stderr(fmt::format(
        "{} {}/{} {}{}",
        fitted(bar(static_cast<double>(done_), static_cast<double>(runs_), kBarWidth), kBarWidth),
        done_ + 1, runs_, what, left));
}

void Terminal::end_run(std::string_view outcome) {
    ++done_;
    clear();
    output::to_stderr(fmt::format("{}/{} {}\n", done_, runs_, outcome));
}

void Terminal::note(std::string_view text) {
    clear();
    output::to_stderr(fmt::format("migrate: {}\n", text));
}

void Terminal::show(const Json& scenario) {
    clear();
    output::to_stdout(bars_text(scenario) + goals_text(scenario));
}

}  // namespace migrate::bench
