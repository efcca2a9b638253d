#include "base/nearest_name.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

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

}  // namespace

std::string_view nearest_name(std::string_view text, std::span<const std::string_view> candidates) {
    return *std::min_element(candidates.begin(), candidates.end(),
                             [text](std::string_view a, std::string_view b) {
                                 return name_distance(text, a) < name_distance(text, b);
                             });
}

}  // namespace migrate
