// SPDX-License-Identifier: Apache-2.0
#include "base/config/option.hpp"

#include <algorithm>
#include <array>

#include "base/config/form.hpp"
#include "base/config/unit_text.hpp"
#include "base/join_words.hpp"

namespace migrate {
namespace {

template <typename... Args>
Error reject(fmt::format_string<Args...> format, Args&&... args) {
    return make_error(ErrorKind::kUsage, format, std::forward<Args>(args)...);
}

// In a choice NAME:N, what stands for the number.
constexpr std::string_view kNumberPart = ":N";

// NAME:N
Result<OptionValue> parse_numbered_choice(const Option& option, std::string_view name,
                                          std::string_view number_text) {
    const auto number = parse_integer(number_text);
    if (!number || *number < option.min || *number > option.max) {
        return reject("{}: N must be {} … {}, not '{}'", name, option.min, option.max, number_text);
    }
    return OptionValue{.text = std::string(name), .number = *number};
}

Result<OptionValue> parse_choice(const Option& option, std::string_view text) {
    for (const std::string_view name : option.choices) {
        if (name.ends_with(kNumberPart)) {
            const std::string_view start = name.substr(0, name.size() - 1);
            if (!text.starts_with(start)) continue;
            return parse_numbered_choice(option, name, text.substr(start.size()));
        }
        if (name == text) return OptionValue{.text = std::string(text)};
    }
    return reject("must be {}, not '{}'", join_words(option.choices, "or"), text);
}

Result<OptionValue> parse_on_off(std::string_view text) {
    if (text != "on" && text != "off") return reject("must be on or off, not '{}'", text);
    return OptionValue{.text = "", .number = text == "on" ? 1U : 0U};
}

Result<OptionValue> parse_plain_text(std::string_view text) {
    // Paths go to system calls, which would end them at a NUL.
    if (text.find('\0') != std::string_view::npos) return reject("a NUL character is not allowed");
    return OptionValue{.text = std::string(text)};
}

Result<OptionValue> parse_address(const Option& option, std::string_view text) {
    if (text.empty()) return OptionValue{};
    MIGRATE_TRY(parse_plain_text(text));
    if (!option.word.empty() && text == option.word) return OptionValue{.text = std::string(text)};
    const auto form_error = [&] {
        return reject("'{}' is not HOST:PORT (an IPv6 address goes in brackets: [::1]:4444)", text);
    };
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return form_error();
    const std::string_view host = text.substr(0, colon);
    const bool bracketed = host.starts_with('[') && host.ends_with(']') && host.size() > 2;
    if (!bracketed && (host.empty() || host.find_first_of(":[] ") != std::string_view::npos)) {
        return form_error();
    }
    const std::string_view port_text = text.substr(colon + 1);
    const auto port = parse_integer(port_text);
    if (!port) return form_error();
    if (*port < option.min || *port > option.max) {
        return reject("port {} is out of range {} … {}", port_text, option.min, option.max);
    }
    return OptionValue{.text = std::string(text)};
}

Result<OptionValue> parse_addresses(const Option& option, std::string_view text) {
    MIGRATE_TRY(parse_plain_text(text));
    for (const std::string_view one : split_list(text)) MIGRATE_TRY(parse_address(option, one));
    return OptionValue{.text = std::string(text)};
}

Result<OptionValue> parse_form_text(const Option& option, std::string_view text) {
    MIGRATE_TRY(parse_plain_text(text));
    if (option.type == OptionType::kForms) {
        MIGRATE_TRY(parse_forms(*option.forms, text));
    } else if (!text.empty()) {
        MIGRATE_TRY(parse_form(*option.forms, text));
    }
    return OptionValue{.text = std::string(text)};
}

Result<std::uint64_t> parse_number(OptionType type, std::string_view text) {
    switch (type) {
        case OptionType::kBytes:
            return parse_bytes(text);
        case OptionType::kBytesPerSecond:
            return parse_bytes_per_second(text);
        case OptionType::kDurationMs:
            return parse_duration_ms(text);
        default:
            return parse_integer(text);
    }
}

std::string number_text(OptionType type, std::uint64_t number) {
    switch (type) {
        case OptionType::kBytes:
        case OptionType::kBytesPerSecond:
            return exact_bytes_text(number);
        case OptionType::kDurationMs:
            return exact_duration_text(number);
        default:
            return fmt::format("{}", number);
    }
}

// "1 … 255", "0 … 100 or off"
std::string range_text(const Option& option) {
    std::string range = number_text(option.type, option.min);
    if (option.max == kNoMaximum) {
        range += " or more";
    } else {
        range += fmt::format(" … {}", number_text(option.type, option.max));
    }
    return option.word.empty() ? range : fmt::format("{} or {}", range, option.word);
}

Result<OptionValue> parse_numeric(const Option& option, std::string_view text) {
    if (!option.word.empty() && text == option.word) {
        return OptionValue{.text = "", .number = option.word_value};
    }
    MIGRATE_ASSIGN(const std::uint64_t number, parse_number(option.type, text));
    if (number < option.min || number > option.max) {
        return reject("{} is out of range {}", text, range_text(option));
    }
    if (number % option.multiple_of != 0) {
        return reject("{} is not a multiple of {}", text,
                      number_text(option.type, option.multiple_of));
    }
    return OptionValue{.text = "", .number = number};
}

}  // namespace

std::string_view command_name(Side side) {
    return side == Side::kSend ? "migrate send" : "migrate recv";
}

std::string_view section_title(OptionSection section) {
    switch (section) {
        case OptionSection::kConnection:
            return "Connection";
        case OptionSection::kSecurity:
            return "Security";
        case OptionSection::kMemory:
            return "Memory";
        case OptionSection::kChannels:
            return "Channels";
        case OptionSection::kZeroPages:
            return "Zero pages";
        case OptionSection::kCompression:
            return "Compression";
        case OptionSection::kDevices:
            return "Devices";
        case OptionSection::kLive:
            return "Live migration";
        case OptionSection::kReports:
            return "Reports";
    }
    return "";
}

std::span<const OptionSection> all_sections() {
    static constexpr std::array kSections{
        OptionSection::kConnection, OptionSection::kSecurity,  OptionSection::kMemory,
        OptionSection::kChannels,   OptionSection::kZeroPages, OptionSection::kCompression,
        OptionSection::kDevices,    OptionSection::kLive,      OptionSection::kReports};
    return kSections;
}

Result<OptionValue> parse_option(const Option& option, std::string_view text) {
    auto value = parse_value(option, text);
    if (value) return value;
    return std::move(value).error().with_context(fmt::format("option {}", option.key));
}

Result<OptionValue> parse_value(const Option& option, std::string_view text) {
    switch (option.type) {
        case OptionType::kText:
        case OptionType::kWords:
            return parse_plain_text(text);
        case OptionType::kForm:
        case OptionType::kForms:
            return parse_form_text(option, text);
        case OptionType::kHostPort:
            return parse_address(option, text);
        case OptionType::kHostPorts:
            return parse_addresses(option, text);
        case OptionType::kChoice:
            return parse_choice(option, text);
        case OptionType::kOnOff:
            return parse_on_off(text);
        case OptionType::kInteger:
        case OptionType::kBytes:
        case OptionType::kBytesPerSecond:
        case OptionType::kDurationMs:
            return parse_numeric(option, text);
    }
    return reject("the row has no type");
}

std::string option_text(const Option& option, const OptionValue& value) {
    if (option.type == OptionType::kChoice && value.text.ends_with(kNumberPart)) {
        return fmt::format("{}{}", value.text.substr(0, value.text.size() - 1), value.number);
    }
    if (is_textual(option.type)) return value.text;
    if (option.type == OptionType::kOnOff) return value.number != 0 ? "on" : "off";
    if (!option.word.empty() && value.number == option.word_value) return std::string(option.word);
    return number_text(option.type, value.number);
}

std::vector<std::string_view> split_list(std::string_view text) {
    std::vector<std::string_view> values;
    while (!text.empty()) {
        const std::size_t blank = std::min(text.find(' '), text.size());
        if (blank != 0) values.push_back(text.substr(0, blank));
        text.remove_prefix(std::min(blank + 1, text.size()));
    }
    return values;
}

std::span<const std::string_view> choices_of(const Option& option) {
    static constexpr std::array<std::string_view, 2> kOnOff{"on", "off"};
    if (option.type == OptionType::kOnOff) return kOnOff;
    return option.choices;
}

std::string value_name_of(const Option& option) {
    if (!option.value_name.empty()) return std::string(option.value_name);
    switch (option.type) {
        case OptionType::kText:
        case OptionType::kForm:
        case OptionType::kForms:
        case OptionType::kWords:
            return "TEXT";
        case OptionType::kHostPort:
        case OptionType::kHostPorts:
            return "HOST:PORT";
        case OptionType::kChoice:
            return fmt::format("{}", fmt::join(option.choices, "|"));
        case OptionType::kOnOff:
            return "on|off";
        case OptionType::kInteger:
            return "N";
        case OptionType::kBytes:
            return "SIZE";
        case OptionType::kBytesPerSecond:
            return "SIZE/s";
        case OptionType::kDurationMs:
            return "TIME";
    }
    return "";
}

std::string allowed_text(const Option& option) {
    if (is_textual(option.type) && option.type != OptionType::kChoice) return "";
    if (const auto names = choices_of(option); !names.empty()) return join_words(names, "or");
    if (option.multiple_of == 1) return range_text(option);
    return fmt::format("{}, a multiple of {}", range_text(option),
                       number_text(option.type, option.multiple_of));
}

}  // namespace migrate
