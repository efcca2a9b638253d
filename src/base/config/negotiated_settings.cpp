// SPDX-License-Identifier: Apache-2.0
#include "base/config/negotiated_settings.hpp"

namespace migrate {

NegotiatedSettings::NegotiatedSettings(const Settings& sender) {
    for (std::size_t i = 0; i < kOptionCount; ++i) {
        if (!kOptions[i].negotiated) continue;
        // A value of other settings is valid.
        if (!set(kOptions[i].key, option_text(kOptions[i], sender.value(i)))) std::abort();
    }
}

Status NegotiatedSettings::set(std::string_view key, std::string_view text) {
    const std::size_t index = find_option(key);
    if (index == kOptionCount || !kOptions[index].negotiated) {
        return make_error(ErrorKind::kUsage, "there is no option '{}' that both sides share", key);
    }
    return values_.set(key, text);
}

std::map<std::string, std::string> NegotiatedSettings::changed() const {
    std::map<std::string, std::string> texts;
    const Settings defaults(Side::kSend);
    for (std::size_t i = 0; i < kOptionCount; ++i) {
        if (!kOptions[i].negotiated) continue;
        std::string text = option_text(kOptions[i], values_.value(i));
        if (text == option_text(kOptions[i], defaults.value(i))) continue;
        texts.emplace(kOptions[i].key, std::move(text));
    }
    return texts;
}

SettingValues NegotiatedSettings::report() const {
    SettingValues values;
    for (std::size_t i = 0; i < kOptionCount; ++i) {
        if (!kOptions[i].negotiated) continue;
        values.emplace_back(kOptions[i].key, setting_value(kOptions[i], values_.value(i)));
    }
    return values;
}

}  // namespace migrate
