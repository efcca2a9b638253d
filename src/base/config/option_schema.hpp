// SPDX-License-Identifier: Apache-2.0
// JSON schemas (JSON Schema 2020-12) of the values of options, from their rows.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/config/option.hpp"

namespace migrate {

using SchemaJson = nlohmann::ordered_json;

// The text of a schema file: `schema` with this title.
inline std::string schema_text(std::string_view title, const SchemaJson& schema) {
    SchemaJson whole = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                        {"title", std::string(title)}};
    whole.update(schema);
    return whole.dump(4) + "\n";
}

// One of these words.
inline SchemaJson words_schema(std::span<const std::string_view> words) {
    SchemaJson list = SchemaJson::array();
    for (const std::string_view word : words) list.push_back(word);
    return {{"enum", std::move(list)}};
}

// A whole number in the row's unit and range.
inline SchemaJson integer_schema(const Option& option) {
    SchemaJson schema = {{"type", "integer"}, {"minimum", option.min}};
    if (option.max != kNoMaximum) schema["maximum"] = option.max;
    if (option.multiple_of != 1) schema["multipleOf"] = option.multiple_of;
    return schema;
}

// kYes: a choice that may be on or off also accepts true and false.
enum class Booleans { kNo, kYes };

// The words of a choice; NAME:N stands for the name and a number.
inline SchemaJson choice_schema(const Option& option, Booleans booleans) {
    constexpr std::string_view kNumberPart = ":N";
    SchemaJson words = SchemaJson::array();
    SchemaJson any = SchemaJson::array();
    for (const std::string_view choice : choices_of(option)) {
        if (choice.ends_with(kNumberPart)) {
            const auto name = choice.substr(0, choice.size() - kNumberPart.size());
            any.push_back({{"type", "string"}, {"pattern", "^" + std::string(name) + ":[0-9]+$"}});
            continue;
        }
        words.push_back(choice);
        if (booleans == Booleans::kNo) continue;
        if (choice == "on") words.push_back(true);
        if (choice == "off") words.push_back(false);
    }
    any.push_back({{"enum", words}});
    return any.size() == 1 ? any.front() : SchemaJson{{"anyOf", any}};
}

}  // namespace migrate
