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

std::vector<std::pair<std::string, std::string>> NegotiatedSettings::report() const {
    std::vector<std::pair<std::string, std::string>> texts;
    for (std::size_t i = 0; i < kOptionCount; ++i) {
        const Option& option = kOptions[i];
        if (!option.negotiated) continue;
        const OptionValue& value = values_.value(i);
        const bool is_word = !option.word.empty() && value.number == option.word_value;
        const bool numeric =
            !is_textual(option.type) && option.type != OptionType::kOnOff && !is_word;
        texts.emplace_back(option.key,
                           numeric ? std::to_string(value.number) : option_text(option, value));
    }
    return texts;
}

}  // namespace migrate
