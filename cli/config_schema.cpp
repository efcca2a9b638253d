#include "cli/config_schema.hpp"

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/config/option_lookup.hpp"
#include "base/config/option_table.hpp"

namespace migrate::cli {
namespace {

using Json = nlohmann::ordered_json;

bool is_number(const Option& option) {
    return !is_textual(option.type) && option.type != OptionType::kOnOff;
}

Json integer_schema(const Option& option) {
    Json schema{{"type", "integer"}, {"minimum", option.min}};
    if (option.max != kNoMaximum) schema["maximum"] = option.max;
    if (option.multiple_of != 1) schema["multipleOf"] = option.multiple_of;
    return schema;
}

// The words of a choice; NAME:N stands for the name and a number.
Json choice_schema(const Option& option) {
    constexpr std::string_view kNumberPart = ":N";
    Json words = Json::array();
    Json any = Json::array();
    for (const std::string_view choice : choices_of(option)) {
        if (choice.ends_with(kNumberPart)) {
            const auto name = choice.substr(0, choice.size() - kNumberPart.size());
            any.push_back({{"type", "string"}, {"pattern", "^" + std::string(name) + ":[0-9]+$"}});
        } else {
            words.push_back(choice);
            if (choice == "on") words.push_back(true);
            if (choice == "off") words.push_back(false);
        }
    }
    any.push_back({{"enum", words}});
    return any.size() == 1 ? any.front() : Json{{"anyOf", any}};
}

Json value_schema(const Option& option) {
    if (!choices_of(option).empty()) return choice_schema(option);
    const Json text{{"type", "string"}};
    if (is_number(option)) return {{"anyOf", {integer_schema(option), text}}};
    if (option.type != OptionType::kForms && option.type != OptionType::kWords) return text;
    const Json word{{"type", "string"}, {"pattern", "^[^ ]*$"}};
    return {{"anyOf", {text, Json{{"type", "array"}, {"items", word}}}}};
}

Json option_schema(const Option& option) {
    Json schema = value_schema(option);
    schema["description"] = option.help;
    if (!option.default_text.empty()) schema["default"] = option.default_text;
    return schema;
}

// The options that `applies` selects.
template <typename Applies>
Json properties(Applies applies) {
    Json found = Json::object();
    for (const Option& option : kOptions) {
        if (applies(option)) found[std::string(option.key)] = option_schema(option);
    }
    return found;
}

Json section(Side side) {
    return {{"type", "object"},
            {"description", "Options of '" + std::string(command_name(side)) + "' alone."},
            {"properties",
             properties([side](const Option& option) { return option_applies(option, side); })},
            {"additionalProperties", false}};
}

}  // namespace

std::string config_schema() {
    Json top = properties([](const Option&) { return true; });
    top["send"] = section(Side::kSend);
    top["recv"] = section(Side::kRecv);
    top["$schema"] = {{"type", "string"}, {"description", "The address of this schema."}};
    const Json schema{{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                      {"title", "Configuration of migrate"},
                      {"type", "object"},
                      {"properties", top},
                      {"additionalProperties", false}};
    return schema.dump(4) + "\n";
}

}  // namespace migrate::cli
