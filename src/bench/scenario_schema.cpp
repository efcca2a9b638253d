// SPDX-License-Identifier: Apache-2.0
#include "bench/scenario_schema.hpp"

#include <array>

#include "base/config/option_lookup.hpp"
#include "base/config/option_schema.hpp"
#include "bench/figures.hpp"
#include "bench/json.hpp"
#include "bench/scenario.hpp"
#include "bench/scenario_keys.hpp"
#include "bench/sweep.hpp"

namespace migrate::bench {
namespace {

Json ref(const char* name) { return {{"$ref", std::string("#/$defs/") + name}}; }

// In an entry with a sweep any text may hold "{key}".
Json or_placeholder(Json schema) {
    const Json placeholder = {{"type", "string"}, {"pattern", "\\{[a-z0-9-]+\\}"}};
    return {{"anyOf", {std::move(schema), placeholder}}};
}

Json list_of(Json items, std::size_t most) {
    return {{"type", "array"}, {"items", std::move(items)}, {"minItems", 1}, {"maxItems", most}};
}

Json options_schema(Side side) {
    Json properties = Json::object();
    for (const Option& option : kOptions) {
        if (!option_applies(option, side) || is_own_option(option.key)) continue;
        properties[std::string(option.key)] = ref("option");
    }
    return {
        {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
}

Json figures_schema() {
    Json names = Json::array();
    for (const FigureRow& row : figure_rows()) names.push_back(row.name);
    return {{"enum", std::move(names)}};
}

Json value_schema(const KeyRow& row) {
    switch (row.type) {
        case KeyType::kName:
            return or_placeholder(
                {{"type", "string"}, {"pattern", "^[a-z0-9-]+$"}, {"maxLength", kLongestName}});
        case KeyType::kText:
            return ref("text");
        case KeyType::kCount:
            return {{"type", "integer"}, {"minimum", row.min}, {"maximum", row.max}};
        case KeyType::kPlace:
            return or_placeholder({{"type", "number"}});
        case KeyType::kPositive:
            return {{"type", "number"}, {"minimum", 0}};
        case KeyType::kFlag:
            return {{"type", "boolean"}};
        case KeyType::kWord:
            return or_placeholder(words_schema(row.words));
        case KeyType::kWords:
            return {{"type", "array"}, {"items", words_schema(row.words)}, {"minItems", 1}};
        case KeyType::kTexts:
            return {{"anyOf", {ref("text"), list_of(ref("text"), kMostTexts)}}};
        case KeyType::kFigure:
            return figures_schema();
        case KeyType::kSendOptions:
            return options_schema(Side::kSend);
        case KeyType::kRecvOptions:
            return options_schema(Side::kRecv);
        case KeyType::kPublished:
            return ref("published");
        case KeyType::kValues:
            return ref("values");
        case KeyType::kDefaults:
            return ref("defaults");
        case KeyType::kVariants:
            return list_of(ref("variant"), kMaxVariants);
        case KeyType::kBaselines:
            return list_of(ref("baseline"), kMaxVariants);
        case KeyType::kGoals:
            return list_of(ref("goal"), kMaxGoals);
    }
    return {};
}

// An object with the keys of `rows`; kNothing: none of them is required.
enum class Required { kRows, kNothing };
Json object_with(std::initializer_list<std::span<const KeyRow>> tables, Required required) {
    Json properties = Json::object();
    Json needed = Json::array();
    for (const std::span<const KeyRow> rows : tables) {
        for (const KeyRow& row : rows) {
            Json& schema = properties[std::string(row.key)] = value_schema(row);
            schema["description"] = row.meaning;
            if (row.required && required == Required::kRows) needed.push_back(row.key);
        }
    }
    return {{"type", "object"},
            {"properties", std::move(properties)},
            {"required", std::move(needed)},
            {"additionalProperties", false}};
}

Json published_schema() {
    const Json number = {{"type", "number"}};
    const Json threads = {{"type", "object"}, {"additionalProperties", number}};
    return {{"type", "object"},
            {"properties", {{"threads", {{"anyOf", {number, threads}}}}}},
            {"additionalProperties", number}};
}

Json values_schema() {
    const Json count = {{"type", "integer"}, {"minimum", 0}};
    const Json range = {{"type", "object"},
                        {"properties", {{"from", count}, {"to", count}, {"step", count}}},
                        {"required", Json::array({"from", "to"})},
                        {"additionalProperties", false}};
    const Json value = {{"type", Json::array({"string", "number"})}};
    return {{"type", "object"},
            {"minProperties", 1},
            {"propertyNames", {{"pattern", "^[a-z0-9-]{1,40}$"}}},
            {"additionalProperties", {{"anyOf", {list_of(value, kMaxSweepPoints), range}}}}};
}

// A goal has a limit.
Json goal_schema() {
    Json goal = object_with({kGoalRows}, Required::kRows);
    goal["anyOf"] = Json::array();
    for (const char* limit : {"at-most", "at-least", "within", "published-within"}) {
        goal["anyOf"].push_back({{"required", Json::array({limit})}});
    }
    return goal;
}

}  // namespace

std::string scenario_schema() {
    Json schema = object_with({kScenarioRows}, Required::kRows);
    Json& parts = schema["$defs"] = Json::object();
    parts["text"] = {{"type", "string"}, {"minLength", 1}, {"maxLength", kLongestText}};
    parts["option"] = {{"anyOf",
                        {Json{{"type", Json::array({"string", "boolean"})}},
                         Json{{"type", "integer"}, {"minimum", 0}}}}};
    parts["published"] = published_schema();
    parts["values"] = values_schema();
    parts["defaults"] = object_with({kVariantRows}, Required::kNothing);
    parts["variant"] = object_with({kVariantRows, kSweepRows}, Required::kRows);
    parts["baseline"] = object_with({kBaselineRows, kSweepRows}, Required::kRows);
    parts["goal"] = goal_schema();
    return schema_text("Scenario of migrate bench", schema);
}

}  // namespace migrate::bench
