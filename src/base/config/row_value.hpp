// SPDX-License-Identifier: Apache-2.0
// Values of a table of rows by key, in the type that the caller wants. Invariant: a key without a
// row, and a type that cannot hold every value of the row, do not compile.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/config/option.hpp"
#include "base/enum_names.hpp"

namespace migrate {

// A string as a template argument.
template <std::size_t Size>
struct FixedString {
    // Implicit on purpose, for get<"key">().
    consteval FixedString(const char (&literal)[Size]) { std::copy_n(literal, Size, text.begin()); }
    constexpr std::string_view view() const { return {text.data(), Size - 1}; }

    std::array<char, Size> text{};
};

// Index of the row with this key, or the number of rows.
constexpr std::size_t find_row(const auto& rows, std::string_view key) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (rows[i].key == key) return i;
    }
    return rows.size();
}

// `kRows` has a row with this key.
// clang-format off
template <const auto& kRows, FixedString Key>
concept HasRow = find_row(kRows, Key.view()) < kRows.size();
// clang-format on

// The value of row `kIndex`. Without `T`: const std::string& for text, addresses and choices, bool
// for on/off, std::uint64_t for all others, in the row's unit. `T` may be an enum whose names are
// the row's choices, milliseconds for a duration, or an integer that holds the row's largest value.
template <const auto& kRows, std::size_t kIndex, typename T = void>
decltype(auto) row_value(const OptionValue& value) {
    constexpr Option kRow = kRows[kIndex];
    if constexpr (NamedEnum<T>) {
        static_assert(kRow.choices.data() == kNames<T>.data(), "the row has other choices");
        return value_named<T>(value.text).value_or(T{});
    } else if constexpr (std::is_same_v<T, std::chrono::milliseconds>) {
        static_assert(kRow.type == OptionType::kDurationMs && kRow.word.empty());
        return T(static_cast<std::int64_t>(value.number));
    } else if constexpr (!std::is_void_v<T>) {
        static_assert(std::is_integral_v<T> && kRow.type != OptionType::kOnOff);
        static_assert(std::max(kRow.max, kRow.word_value) <=
                          static_cast<std::uint64_t>(std::numeric_limits<T>::max()),
                      "the type cannot hold every value of the row");
        return static_cast<T>(value.number);
    } else if constexpr (is_textual(kRow.type)) {
        return static_cast<const std::string&>(value.text);
    } else if constexpr (kRow.type == OptionType::kOnOff) {
        return value.number != 0;
    } else {
        return std::uint64_t{value.number};
    }
}

}  // namespace migrate
