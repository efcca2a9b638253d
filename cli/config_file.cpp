// SPDX-License-Identifier: Apache-2.0
#include "cli/config_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "base/duplicate_keys.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"
#include "cli/usage_error.hpp"

namespace migrate::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLargestFile = kMiB;

Result<std::string> read_file(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return Error::system("open the file", errno).as(ErrorKind::kUsage);
    std::string text;
    std::array<char, 16384> buffer{};
    for (;;) {
        const ssize_t count = ::read(file.get(), buffer.data(), buffer.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return Error::system("read the file", errno).as(ErrorKind::kUsage);
        if (count == 0) return text;
        text.append(buffer.data(), static_cast<std::size_t>(count));
        if (text.size() > kLargestFile) {
            return usage_error("the file is larger than 1 MiB, the limit for a configuration");
        }
    }
}

Result<Json> parse_json(const std::string& text) {
    try {
        DuplicateKeys<Json> duplicates;
        Json json = Json::parse(
            text,
            [&duplicates](int, Json::parse_event_t event, const Json& parsed) {
                duplicates.see(event, parsed);
                return true;  // false would drop the value
            },
            /*allow_exceptions=*/true, /*ignore_comments=*/true);
        if (!duplicates.first().empty()) {
            return usage_error("'{}' is set twice in the same object", duplicates.first());
        }
        if (!json.is_object()) return usage_error("the file does not hold a JSON object {{ … }}");
        return json;
    } catch (const Json::exception& exception) {
        // The text is "[json.exception.parse_error.101] parse error at line 3, column 5: …"; the
        // bracket is useful only to programmers.
        std::string_view what = exception.what();
        if (what.starts_with('[')) what.remove_prefix(std::min(what.find("] ") + 2, what.size()));
        return usage_error("not valid JSON: {}", what);
    }
}

bool has_choice(const Option& option, std::string_view choice) {
    const auto choices = choices_of(option);
    return std::find(choices.begin(), choices.end(), choice) != choices.end();
}

// Converts ["a", "b"] to "a b".
Result<std::string> words_text(const Option& option, const Json& list) {
    std::string text;
    for (const Json& word : list) {
        if (!word.is_string() ||
            word.get_ref<const std::string&>().find(' ') != std::string::npos) {
            return usage_error("option {}: the list may hold strings without blanks only",
                               option.key);
        }
        text += (text.empty() ? "" : " ") + word.get<std::string>();
    }
    return text;
}

// Returns the value as the user would have typed it after the flag.
Result<std::string> value_text(const Option& option, const Json& value) {
    if (value.is_string()) return value.get<std::string>();
    if (value.is_array() && is_list(option.type)) return words_text(option, value);
    const bool numeric = !is_textual(option.type) && option.type != OptionType::kOnOff;
    if (value.is_number() && numeric) return value.dump();
    if (value.is_boolean() && has_choice(option, "on") && has_choice(option, "off")) {
        return std::string(value.get<bool>() ? "on" : "off");
    }
    std::string_view wanted = is_list(option.type) ? "a string, or a list of strings" : "a string";
    if (numeric) wanted = "a number, or a string with a number and its unit";
    if (option.type == OptionType::kOnOff) wanted = "true, false, \"on\" or \"off\"";
    return usage_error("option {}: the value must be {}", option.key, wanted);
}

Status set_from_json(const std::string& key, const Json& value, Settings& settings) {
    MIGRATE_ASSIGN(const std::size_t index, find_option_for(key, settings.side()));
    MIGRATE_ASSIGN(const std::string text, value_text(kOptions[index], value));
    return settings.set(key, text, Origin::kFile);
}

std::string_view section_name(Side side) { return side == Side::kSend ? "send" : "recv"; }

bool is_section(std::string_view key) { return key == "send" || key == "recv"; }

// The address of a schema, which is for editors (see schemas.hpp).
constexpr std::string_view kSchemaKey = "$schema";

Status apply_top_level(const Json& json, Settings& settings) {
    for (const auto& [key, value] : json.items()) {
        if (is_section(key)) continue;
        if (key == kSchemaKey && value.is_string()) continue;
        const std::size_t index = find_option(key);
        if (index < kOptionCount && !option_applies(kOptions[index], settings.side())) {
            const Side owner = other_side(settings.side());
            return usage_error("option {} belongs to '{}': put it under \"{}\": {{ … }}", key,
                               command_name(owner), section_name(owner));
        }
        MIGRATE_TRY(set_from_json(key, value, settings));
    }
    return {};
}

Status apply_section(const Json& json, Settings& settings) {
    const std::string_view name = section_name(settings.side());
    const auto section = json.find(name);
    if (section == json.end()) return {};
    if (!section->is_object()) return usage_error("\"{}\" must be an object {{ … }}", name);
    for (const auto& [key, value] : section->items()) {
        if (Status status = set_from_json(key, value, settings); !status) {
            return std::move(status).error().with_context(fmt::format("in \"{}\"", name));
        }
    }
    return {};
}

Status load(const std::string& path, Settings& settings) {
    MIGRATE_ASSIGN(const std::string text, read_file(path));
    MIGRATE_ASSIGN(const Json json, parse_json(text));
    MIGRATE_TRY(apply_top_level(json, settings));
    MIGRATE_TRY(apply_section(json, settings));
    // The other command will read this file too, so errors in its section are reported now.
    Settings other(other_side(settings.side()));
    return apply_section(json, other);
}

Json value_json(const Option& option, const OptionValue& value) {
    if (option.type == OptionType::kOnOff) return value.number != 0;
    const std::string text = option_text(option, value);
    const bool is_word = !option.word.empty() && text == option.word;
    if (option.type == OptionType::kInteger && !is_word) return value.number;
    return text;
}

}  // namespace

Status load_config_file(const std::string& path, Settings& settings) {
    if (Status status = load(path, settings); !status) {
        return std::move(status).error().with_context(path);
    }
    return {};
}

Status set_from_json_text(const std::string& key, const std::string& json, Settings& settings) {
    MIGRATE_ASSIGN(const std::size_t index, find_option_for(key, settings.side()));
    const Json value = Json::parse(json, nullptr, false);
    MIGRATE_ASSIGN(const std::string text, value_text(kOptions[index], value));
    return settings.set(key, text);
}

Result<std::string> settings_to_json(const Settings& settings) {
    Json json = Json::object();
    for (std::size_t i = 0; i < kOptionCount; ++i) {
        if (!option_applies(kOptions[i], settings.side())) continue;
        json[std::string(kOptions[i].key)] = value_json(kOptions[i], settings.value(i));
    }
    try {
        return json.dump(4) + "\n";
    } catch (const Json::exception&) {
        return usage_error("a value is not UTF-8 and cannot be printed as JSON");
    }
}

}  // namespace migrate::cli
