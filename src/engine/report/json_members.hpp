// SPDX-License-Identifier: Apache-2.0
// Tables of the members of JSON objects. The writer and the schema of a document walk the same
// table, and the type in the schema follows from the function that reads the value. Invariant: an
// object has only members of its table; a member that is not optional is always there.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/config/option_schema.hpp"
#include "base/config/setting_value.hpp"
#include "base/enum_names.hpp"
#include "base/outcome.hpp"

namespace migrate::engine {

using Json = SchemaJson;

// One member of the object that stands for an Owner.
template <typename Owner>
struct Member {
    std::string_view key;
    std::string_view meaning;
    std::function<Json(const Owner&)> value;  // null if it is absent
    Json (*schema)();
    bool optional = false;
};

template <typename Owner>
using Members = std::vector<Member<Owner>>;

// Specialized for each type that is a JSON object: `static const Members<Owner>& all()`.
template <typename Owner>
struct MembersOf;

template <typename T>
concept HasMembers = requires {
    MembersOf<T>::all();
};

namespace json_detail {

template <typename T>
inline constexpr bool kIsOptional = false;
template <typename T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
template <typename T>
inline constexpr bool kIsVector = false;
template <typename T>
inline constexpr bool kIsVector<std::vector<T>> = true;
template <typename T>
inline constexpr bool kIsDuration = false;
template <typename Rep, typename Period>
inline constexpr bool kIsDuration<std::chrono::duration<Rep, Period>> = true;

}  // namespace json_detail

// For texts that are absent if they are empty.
inline std::optional<std::string> unless_empty(const std::string& text) {
    return text.empty() ? std::nullopt : std::optional(text);
}

Json settings_object(const SettingValues& values);
// A schema of that object, from the option table.
Json settings_schema();
Json outcome_schema();

template <typename Owner>
Json object_of(const Owner& owner) {
    Json object = Json::object();
    for (const Member<Owner>& member : MembersOf<Owner>::all()) {
        Json value = member.value(owner);
        if (!value.is_null()) object[std::string(member.key)] = std::move(value);
    }
    return object;
}

template <typename T>
Json json_of(const T& value) {
    using namespace json_detail;
    if constexpr (kIsOptional<T>) {
        return value ? json_of(*value) : Json(nullptr);
    } else if constexpr (std::is_same_v<T, SettingValues>) {
        return settings_object(value);
    } else if constexpr (kIsVector<T>) {
        Json list = Json::array();
        for (const auto& entry : value) list.push_back(json_of(entry));
        return list;
    } else if constexpr (HasMembers<T>) {
        return object_of(value);
    } else if constexpr (NamedEnum<T> || std::is_same_v<T, Outcome>) {
        return std::string(name_of(value));
    } else if constexpr (kIsDuration<T>) {
        return value.count();
    } else {
        return value;
    }
}

template <typename T>
Json schema_of();

template <typename Owner>
Json object_schema() {
    Json properties = Json::object();
    Json required = Json::array();
    for (const Member<Owner>& member : MembersOf<Owner>::all()) {
        Json schema = member.schema();
        if (!member.meaning.empty()) schema["description"] = member.meaning;
        properties[std::string(member.key)] = std::move(schema);
        if (!member.optional) required.push_back(member.key);
    }
    return {{"type", "object"},
            {"properties", std::move(properties)},
            {"required", std::move(required)},
            {"additionalProperties", false}};
}

template <typename T>
Json schema_of() {
    using namespace json_detail;
    if constexpr (kIsOptional<T>) {
        return schema_of<typename T::value_type>();
    } else if constexpr (std::is_same_v<T, SettingValues>) {
        return settings_schema();
    } else if constexpr (kIsVector<T>) {
        return {{"type", "array"}, {"items", schema_of<typename T::value_type>()}};
    } else if constexpr (HasMembers<T>) {
        return object_schema<T>();
    } else if constexpr (std::is_same_v<T, Outcome>) {
        return outcome_schema();
    } else if constexpr (NamedEnum<T>) {
        return words_schema(kNames<T>);
    } else if constexpr (std::is_same_v<T, bool>) {
        return {{"type", "boolean"}};
    } else if constexpr (std::is_unsigned_v<T>) {
        return {{"type", "integer"}, {"minimum", 0}};
    } else if constexpr (std::is_integral_v<T> || kIsDuration<T>) {
        return {{"type", "integer"}};
    } else if constexpr (std::is_floating_point_v<T>) {
        return {{"type", "number"}};
    } else {
        static_assert(std::is_convertible_v<const T&, std::string_view>);
        return {{"type", "string"}};
    }
}

// A member whose value `get` returns: a number, a bool, a text, an enum with names, a duration (its
// count), an object with members, a vector of these, or std::optional of one: nothing if the member
// is absent. A member of the Owner's class will do.
template <typename Owner, typename Get>
Member<Owner> member(std::string_view key, std::string_view meaning, Get get) {
    using Value = std::remove_cvref_t<std::invoke_result_t<const Get&, const Owner&>>;
    return {.key = key,
            .meaning = meaning,
            .value = [get](const Owner& owner) { return json_of<Value>(std::invoke(get, owner)); },
            .schema = &schema_of<Value>,
            .optional = json_detail::kIsOptional<Value>};
}

// Appends the members of an object that `get` returns to those of the owner.
template <typename Owner, typename Get>
void add_members_of(Members<Owner>& to, Get get) {
    using Part = std::remove_cvref_t<std::invoke_result_t<const Get&, const Owner&>>;
    for (const Member<Part>& row : MembersOf<Part>::all()) {
        to.push_back({.key = row.key,
                      .meaning = row.meaning,
                      .value = [get, of = row.value](const Owner& owner) { return of(get(owner)); },
                      .schema = row.schema,
                      .optional = row.optional});
    }
}

}  // namespace migrate::engine
