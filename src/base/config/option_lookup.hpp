// SPDX-License-Identifier: Apache-2.0
// Finds rows of the option table by their keys, and reads the texts of options that have forms.
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include "base/config/form.hpp"
#include "base/config/option_table.hpp"
#include "base/config/row_value.hpp"
#include "base/error.hpp"

namespace migrate {

inline constexpr std::size_t kOptionCount = kOptions.size();

// Index of the row with this key, or kOptionCount.
constexpr std::size_t find_option(std::string_view key) { return find_row(kOptions, key); }

// The option table has a row with this key.
template <FixedString Key>
concept HasOptionRow = HasRow<kOptions, Key>;

// Index of a row by a key known at compile time; a key without a row does not compile.
template <FixedString Key>
requires HasOptionRow<Key>
consteval std::size_t option_index() { return find_option(Key.view()); }

// Reads a text of an option that has forms. Fails with kUsage: "option KEY: 'TEXT': REASON".
template <FixedString Key>
requires HasOptionRow<Key> Result<ParsedForm> parse_form_of(std::string_view text) {
    constexpr Option kRow = kOptions[option_index<Key>()];
    static_assert(kRow.type == OptionType::kForm, "the option has no forms");
    auto parsed = parse_form(*kRow.forms, text);
    if (parsed) return parsed;
    return std::move(parsed).error().with_context(fmt::format("option {}", Key.view()));
}
// The same for an option whose value is a list.
template <FixedString Key>
requires HasOptionRow<Key> Result<std::vector<ParsedForm>> parse_forms_of(std::string_view text) {
    constexpr Option kRow = kOptions[option_index<Key>()];
    static_assert(kRow.type == OptionType::kForms, "the option has no list of forms");
    auto parsed = parse_forms(*kRow.forms, text);
    if (parsed) return parsed;
    return std::move(parsed).error().with_context(fmt::format("option {}", Key.view()));
}

// Returns the index of the row for this key. Fails with kUsage and names the nearest key, or the
// command that the option belongs to.
Result<std::size_t> find_option_for(std::string_view key, Side side);

}  // namespace migrate
