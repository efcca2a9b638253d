// SPDX-License-Identifier: Apache-2.0
#include "base/config/option_lookup.hpp"

#include <vector>

#include "base/suggestion.hpp"

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
    const auto nearest = near_name(key, keys);
    if (!nearest) {
        return make_error(ErrorKind::kUsage, "unknown option '{}': '{} --help all' lists all", key,
                          command_name(side));
    }
    if (option_applies(kOptions[find_option(*nearest)], side)) {
        return make_error(ErrorKind::kUsage, "unknown option '{}': did you mean '{}'?", key,
                          *nearest);
    }
    return make_error(ErrorKind::kUsage,
                      "unknown option '{}': did you mean '{}', which belongs to '{}'?", key,
                      *nearest, command_name(other_side(side)));
}

}  // namespace migrate
