// SPDX-License-Identifier: Apache-2.0
#include "engine/report/schemas.hpp"

#include "base/config/option_lookup.hpp"
#include "base/config/option_schema.hpp"
#include "engine/report/event_table.hpp"
#include "engine/report/json_members.hpp"

namespace migrate::engine {
namespace {

Json number_schema(const Option& option) {
    if (option.word.empty()) return integer_schema(option);
    return {{"anyOf", {integer_schema(option), words_schema(std::span(&option.word, 1))}}};
}

Json setting_schema(const Option& option) {
    // A receiver reports what confines it; before that, the option's value.
    if (option.key == "sandbox") return {{"type", {"boolean", "string"}}};
    if (option.type == OptionType::kOnOff) return {{"type", "boolean"}};
    if (option.type == OptionType::kChoice) return choice_schema(option, Booleans::kNo);
    if (is_textual(option.type)) return {{"type", "string"}};
    return number_schema(option);
}

Json data_schema(const EventDataRow& row) {
    switch (row.type) {
        case EventType::kNumber:
            return schema_of<std::uint64_t>();
        case EventType::kText:
            return schema_of<std::string>();
        case EventType::kWord:
            return words_schema(row.words);
        case EventType::kSettings:
            return settings_schema();
    }
    return {};
}

Json event_schema(const EventRow& event) {
    Json properties = Json::object();
    Json required = Json::array();
    for (const EventDataRow& row : event.data) {
        Json& schema = properties[std::string(row.key)] = data_schema(row);
        schema["description"] = row.meaning;
        if (row.always) required.push_back(row.key);
    }
    return {{"description", event.meaning},
            {"properties",
             {{"event", {{"const", event.name}}},
              {"data",
               {{"type", "object"},
                {"properties", std::move(properties)},
                {"required", std::move(required)},
                {"additionalProperties", false}}}}}};
}

}  // namespace

Json settings_object(const SettingValues& values) {
    Json object = Json::object();
    for (const auto& [key, value] : values) {
        std::visit([&, name = std::string(key)](const auto& held) { object[name] = held; }, value);
    }
    return object;
}

Json settings_schema() {
    Json properties = Json::object();
    for (const Option& option : kOptions) {
        properties[std::string(option.key)] = setting_schema(option);
    }
    return {
        {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
}

Json outcome_schema() { return words_schema(event_rows::kOutcomeWords); }

std::string events_schema() {
    Json events = Json::array();
    for (const EventRow& event : kEvents) events.push_back(event_schema(event));
    const Json micros{{"type", "integer"}, {"minimum", 0}, {"maximum", 999'999}};
    return schema_text(
        "One event of migrate",
        {{"type", "object"},
         {"properties",
          {{"event", {{"type", "string"}}},
           {"data", {{"type", "object"}}},
           {"timestamp",
            {{"type", "object"},
             {"properties", {{"seconds", schema_of<std::uint64_t>()}, {"microseconds", micros}}},
             {"required", {"seconds", "microseconds"}},
             {"additionalProperties", false}}}}},
         {"required", {"event", "data", "timestamp"}},
         {"additionalProperties", false},
         {"oneOf", std::move(events)}});
}

}  // namespace migrate::engine
