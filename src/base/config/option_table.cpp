#include "base/config/option_table.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace migrate {
namespace {

constexpr bool keys_are_unique(const auto& rows) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (find_row(rows, rows[i].key) != i) return false;
    }
    return true;
}
static_assert(keys_are_unique(kOptions), "two rows of the option table have the same key");
static_assert(keys_are_unique(kWorkloadWords) && keys_are_unique(kSimulatedWords) &&
                  keys_are_unique(kSoftDsaWords),
              "two words of a form have the same key");

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

Result<std::size_t> find_option_for(std::string_view key, Side side) {
    if (const std::size_t index = find_option(key); index < kOptionCount) {
        if (option_applies(kOptions[index], side)) return index;
        return make_error(ErrorKind::kUsage, "option {} belongs to '{}', not to '{}'", key,
                          command_name(other_side(side)), command_name(side));
    }
    // This side's options come first, so that they win if both are equally near.
    std::vector<std::string_view> keys;
    for (const Side of : {side, other_side(side)}) {
        for (const Option& option : kOptions) {
            if (option_applies(option, of)) keys.push_back(option.key);
        }
    }
    const std::string_view nearest = nearest_name(key, keys);
    if (option_applies(kOptions[find_option(nearest)], side)) {
        return make_error(ErrorKind::kUsage, "unknown option '{}': did you mean '{}'?", key,
                          nearest);
    }
    return make_error(ErrorKind::kUsage,
                      "unknown option '{}': did you mean '{}', which belongs to '{}'?", key,
                      nearest, command_name(other_side(side)));
}

std::string_view nearest_name(std::string_view text, std::span<const std::string_view> candidates) {
    return *std::min_element(candidates.begin(), candidates.end(),
                             [text](std::string_view a, std::string_view b) {
                                 return name_distance(text, a) < name_distance(text, b);
                             });
}

}  // namespace migrate
