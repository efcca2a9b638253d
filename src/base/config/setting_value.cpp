// SPDX-License-Identifier: Apache-2.0
#include "base/config/setting_value.hpp"

#include <algorithm>

namespace migrate {

SettingValue setting_value(const Option& option, const OptionValue& value) {
    if (is_textual(option.type)) return option_text(option, value);
    return setting_value(option, value.number);
}

SettingValue setting_value(const Option& option, std::uint64_t number) {
    if (option.type == OptionType::kOnOff) return number != 0;
    if (!option.word.empty() && number == option.word_value) return std::string(option.word);
    return number;
}

SettingValues setting_values(const Settings& settings) {
    SettingValues values;
    for (std::size_t i = 0; i < kOptionCount; ++i) {
        if (!option_applies(kOptions[i], settings.side())) continue;
        values.emplace_back(kOptions[i].key, setting_value(kOptions[i], settings.value(i)));
    }
    return values;
}

void set_value(SettingValues& values, std::string_view key, SettingValue value) {
    const auto found = std::find_if(values.begin(), values.end(),
                                    [&](const auto& entry) { return entry.first == key; });
    if (found != values.end()) {
        found->second = std::move(value);
    } else {
        values.emplace_back(key, std::move(value));
    }
}

void set_values(SettingValues& values, const SettingValues& stronger) {
    for (const auto& [key, value] : stronger) set_value(values, key, value);
}

}  // namespace migrate
