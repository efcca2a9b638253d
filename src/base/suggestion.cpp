// SPDX-License-Identifier: Apache-2.0
#include "base/suggestion.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "base/join_words.hpp"

namespace migrate {
namespace {

// Number of single-character insertions, deletions and replacements that turn `a` into `b`
// (Levenshtein).
std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i);
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
        }
    }
    return row[b.size()];
}

// A prefix or a part of a name counts as near, whatever the rest of the name: "channels" means
// multifd-channels.
std::size_t name_distance(std::string_view text, std::string_view candidate) {
    constexpr std::size_t kShortestPart = 4;
    if (candidate.starts_with(text)) return 1;
    if (text.size() >= kShortestPart && candidate.find(text) != std::string_view::npos) return 1;
    return edit_distance(text, candidate);
}

// The largest distance at which a name is still suggested.
std::size_t near_distance(std::string_view text) {
    return std::max<std::size_t>(1, (text.size() + 2) / 3);
}

}  // namespace

std::optional<std::string_view> near_name(std::string_view text,
                                          std::span<const std::string_view> candidates) {
    if (text.empty()) return std::nullopt;
    std::optional<std::string_view> nearest;
    std::size_t distance = near_distance(text) + 1;
    for (const std::string_view candidate : candidates) {
        const std::size_t its = name_distance(text, candidate);
        if (its >= distance) continue;
        nearest = candidate;
        distance = its;
    }
    return nearest;
}

std::string suggestion(std::string_view text, std::span<const std::string_view> candidates,
                       std::string_view prefix) {
    constexpr std::size_t kMostListed = 12;
    if (const auto nearest = near_name(text, candidates)) {
        return fmt::format(": did you mean '{}{}'?", prefix, *nearest);
    }
    if (candidates.empty() || candidates.size() > kMostListed) return "";
    std::vector<std::string> names;
    for (const std::string_view name : candidates)
        names.push_back(fmt::format("{}{}", prefix, name));
    return fmt::format(": use {}", join_words(names, "or"));
}

}  // namespace migrate
