// SPDX-License-Identifier: Apache-2.0
#include "bench/headline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "bench/figures.hpp"
#include "bench/goals.hpp"
#include "bench/statistics.hpp"

namespace migrate::bench {
namespace {

// Ratios this near to 1 are no difference.
constexpr double kEven = 0.03;

std::string ratio_text(double ratio) {
    return fmt::format("{:.{}f} ×", ratio, ratio < 0.1 ? 3 : 2);
}

std::string with_unit(double value, std::string_view unit) {
    return fmt::format("{}{}{}", short_number(value), unit.empty() ? "" : " ", unit);
}

Tone tone_of(double ratio, bool more_is_better) {
    if (std::abs(ratio - 1) < kEven) return Tone::kNeutral;
    return (ratio > 1) == more_is_better ? Tone::kBetter : Tone::kWorse;
}

// A variant of migrate beside the same variant of a QEMU.
struct Pair {
    std::string label;
    std::string peer;  // "QEMU 10.0.2"
    double ours = 0;   // median total time in ms
    double theirs = 0;
    double ratio() const { return ours / theirs; }
};

std::vector<Pair> pairs_of(const Json& scenario) {
    std::vector<Pair> pairs;
    for (const Json& ours : scenario.at("variants")) {
        if (flag_at(ours, "peer")) continue;
        const std::string name = text_at(ours, "name");
        const auto values = series(scenario, name, "total-time");
        for (const Json& theirs : scenario.at("variants")) {
            const std::string peer = text_at(theirs, "name");
            if (!flag_at(theirs, "peer") || !peer.starts_with(name + "-qemu")) continue;
            const auto others = series(scenario, peer, "total-time");
            if (values.empty() || others.empty() || median(others) <= 0) continue;
            pairs.push_back({text_at(ours, "label"), peer_version(scenario, peer), median(values),
                             median(others)});
        }
    }
    return pairs;
}

std::optional<Headline> beside_peers(const Json& scenario) {
    const std::vector<Pair> pairs = pairs_of(scenario);
    if (pairs.empty()) return std::nullopt;
    const auto by_ratio = [](const Pair& a, const Pair& b) { return a.ratio() < b.ratio(); };
    const auto [best, worst] = std::minmax_element(pairs.begin(), pairs.end(), by_ratio);
    std::string sentence = fmt::format(
        "migrate takes {} the time of {}: {} ms against {} ms ({}).", ratio_text(worst->ratio()),
        worst->peer, short_number(worst->ours), short_number(worst->theirs), worst->label);
    if (pairs.size() > 1) {
        sentence += fmt::format(" That is the worst of {} comparisons; the best is {} ({}, {}).",
                                pairs.size(), ratio_text(best->ratio()), best->label, best->peer);
    }
    return Headline{ratio_text(worst->ratio()), std::move(sentence),
                    tone_of(worst->ratio(), false)};
}

std::optional<Headline> by_goals(const Json& scenario) {
    std::vector<Verdict> judged;
    for (Verdict& verdict : judge(scenario)) {
        if (verdict.state != Verdict::State::kNotJudged) judged.push_back(std::move(verdict));
    }
    if (judged.empty()) return std::nullopt;
    const auto missed = std::find_if(judged.begin(), judged.end(), [](const Verdict& one) {
        return one.state == Verdict::State::kMissed;
    });
    const Verdict& shown = missed == judged.end() ? judged.front() : *missed;
    const bool met = missed == judged.end();
    std::string sentence =
        fmt::format("{}: {}; the goal is {}.", shown.words, shown.found, shown.wanted);
    const auto kept = static_cast<std::size_t>(
        std::count_if(judged.begin(), judged.end(),
                      [](const Verdict& one) { return one.state == Verdict::State::kMet; }));
    if (judged.size() == 1) {
        sentence += met ? " It is met." : " It is missed.";
    } else {
        sentence += fmt::format(" Goals met: {} of {}.", kept, judged.size());
    }
    return Headline{ratio_text(shown.ratio), std::move(sentence),
                    met ? Tone::kBetter : Tone::kWorse};
}

std::optional<Headline> beside_published(const Json& scenario) {
    for (const FigureRow& row : figure_rows()) {
        for (const Json& variant : scenario.at("variants")) {
            if (!variant.contains("published")) continue;
            const auto published = published_figure(variant["published"], row.name);
            const auto values = series(scenario, text_at(variant, "name"), row.name);
            if (!published || *published <= 0 || values.empty()) continue;
            const double ratio = median(values) / *published;
            return Headline{
                ratio_text(ratio),
                fmt::format("The {} of '{}' is {} the published one: {} here, {} "
                            "published, on another machine.",
                            row.words, text_at(variant, "label"), ratio_text(ratio),
                            with_unit(median(values), row.unit), with_unit(*published, row.unit)),
                Tone::kNeutral};
        }
    }
    return std::nullopt;
}

std::optional<Headline> by_extremes(const Json& scenario) {
    bool live = false;
    for (const Json& table : scenario.at("tables")) {
        live = live || table == "live" || table == "percentiles";
    }
    const FigureRow* row = find_figure(live ? "downtime" : "total-time");
    std::vector<std::pair<double, std::string>> medians;
    for (const Json& variant : scenario.at("variants")) {
        const auto values = series(scenario, text_at(variant, "name"), row->name);
        if (!values.empty()) medians.emplace_back(median(values), text_at(variant, "label"));
    }
    if (medians.empty()) return std::nullopt;
    const auto [least, most] = std::minmax_element(medians.begin(), medians.end());
    if (least == most || least->first <= 0) {
        return Headline{"",
                        fmt::format("The {} of '{}' is {}.", row->words, least->second,
                                    with_unit(least->first, row->unit)),
                        Tone::kNeutral};
    }
    const double ratio = most->first / least->first;
    return Headline{
        ratio_text(ratio),
        fmt::format("The {} of '{}' is {} that of '{}': {} against {}.", row->words, most->second,
                    ratio_text(ratio), least->second, with_unit(most->first, row->unit),
                    with_unit(least->first, row->unit)),
        Tone::kNeutral};
}

}  // namespace

Headline headline_of(const Json& scenario) {
    for (const auto& find : {beside_peers, by_goals, beside_published, by_extremes}) {
        if (auto headline = find(scenario)) return *std::move(headline);
    }
    return {"", "No run succeeded; the notes have the reasons.", Tone::kNeutral};
}

std::string mode_warning(const Json& results) {
    const Json& mode = results.at("mode");
    const double scale = mode.value("scale", 1.0);
    const bool quick = flag_at(mode, "quick");
    if (!quick && scale == 1) return "";
    std::string what = quick ? "Quick run: small guests and few repeats" : "";
    if (scale != 1) what += fmt::format("{} sizes × {:g}", quick ? ", all" : "All", scale);
    return what + ". These figures show that everything works; they are no measurement.";
}

}  // namespace migrate::bench
