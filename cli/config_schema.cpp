// SPDX-License-Identifier: Apache-2.0
#include "cli/config_schema.hpp"

#include "base/config/option_lookup.hpp"
#include "base/config/option_schema.hpp"
#include "base/config/option_table.hpp"

namespace migrate::cli {
namespace {

using Json = SchemaJson;

bool is_number(const Option& option) {
    return !is_textual(option.type) && option.type != OptionType::kOnOff;
}

Json value_schema(const Option& option) {
    if (!choices_of(option).empty()) return choice_schema(option, Booleans::kYes);
    const Json text{{"type", "string"}};
    if (is_number(option)) return {{"anyOf", {integer_schema(option), text}}};
    if (!is_list(option.type)) return text;
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
    return schema_text("Configuration of migrate",
                       {{"type", "object"}, {"properties", top}, {"additionalProperties", false}});
}

}  // namespace migrate::cli
