// SPDX-License-Identifier: Apache-2.0
// The names of an enum's values, for options, the wire and reports. Invariant: an enum has one list
// of names, the function enum_names() beside its definition; everything else is derived from it.
//
//     enum class Verify { kNone, kDigest };
//     constexpr auto enum_names(Verify) {
//         return names_of_enum<Verify>({{Verify::kNone, "none"}, {Verify::kDigest, "digest"}});
//     }
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace migrate {

template <typename Enum>
struct EnumName {
    Enum value;
    std::string_view name;
};

// Makes the list that enum_names() returns.
template <typename Enum, std::size_t Count>
constexpr std::array<EnumName<Enum>, Count> names_of_enum(const EnumName<Enum> (&rows)[Count]) {
    return std::to_array(rows);
}

// enum_names() exists for the enum.
template <typename Enum>
concept NamedEnum = requires(Enum value) {
    enum_names(value).size();
};

// The names alone, in the order of enum_names().
template <NamedEnum Enum>
inline constexpr auto kNames = [] {
    constexpr auto kRows = enum_names(Enum{});
    std::array<std::string_view, kRows.size()> names{};
    std::transform(kRows.begin(), kRows.end(), names.begin(),
                   [](const EnumName<Enum>& row) { return row.name; });
    return names;
}();

// Returns "?" for a value without a name.
template <NamedEnum Enum>
constexpr std::string_view name_of(Enum value) {
    for (const EnumName<Enum>& row : enum_names(value)) {
        if (row.value == value) return row.name;
    }
    return "?";
}

// Returns the value with this name, or nothing.
template <NamedEnum Enum>
constexpr std::optional<Enum> value_named(std::string_view name) {
    for (const EnumName<Enum>& row : enum_names(Enum{})) {
        if (row.name == name) return row.value;
    }
    return std::nullopt;
}

}  // namespace migrate
