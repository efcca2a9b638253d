// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/fault_plan.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <optional>
#include <system_error>

namespace migrate::accel::softdsa {
namespace {

// The form of the value after a kind's "=".
enum class ValueForm : std::uint8_t {
    kNone,
    kCount,
    kCountOrEver,
    kIndexOrAny,
    kStatus,
    kTime,
    kErrno
};

struct KindRow {
    FaultKind kind;
    std::string_view name;
    ValueForm form;
};
constexpr auto kKinds = std::to_array<KindRow>({
    {FaultKind::kFull, "full", ValueForm::kCountOrEver},
    {FaultKind::kFaultByte, "fault-byte", ValueForm::kIndexOrAny},
    {FaultKind::kListFault, "list-fault", ValueForm::kIndexOrAny},
    {FaultKind::kBadChild, "bad-child", ValueForm::kIndexOrAny},
    {FaultKind::kBatchStatus, "batch-status", ValueForm::kStatus},
    {FaultKind::kStatus, "status", ValueForm::kStatus},
    {FaultKind::kWrong, "wrong", ValueForm::kNone},
    {FaultKind::kRecordFault, "record-fault", ValueForm::kNone},
    {FaultKind::kDrop, "drop", ValueForm::kNone},
    {FaultKind::kLate, "late", ValueForm::kTime},
    {FaultKind::kReorder, "reorder", ValueForm::kNone},
    {FaultKind::kHaltAfter, "halt-after", ValueForm::kCount},
    {FaultKind::kOpenError, "open", ValueForm::kErrno},
    {FaultKind::kMapError, "mmap", ValueForm::kErrno},
    {FaultKind::kWriteError, "write", ValueForm::kErrno},
});

struct NamedNumber {
    std::string_view name;
    std::uint64_t number;
};
constexpr auto kErrnos = std::to_array<NamedNumber>({
    {"EPERM", EPERM},
    {"EBUSY", EBUSY},
    {"EAGAIN", EAGAIN},
    {"EINVAL", EINVAL},
    {"EACCES", EACCES},
    {"EFAULT", EFAULT},
    {"EIO", EIO},
    {"ENODEV", ENODEV},
    {"ENOENT", ENOENT},
    {"ENOMEM", ENOMEM},
    {"ENXIO", ENXIO},
    {"EOPNOTSUPP", EOPNOTSUPP},
});
// The longest unit comes first, for printing.
constexpr auto kTimes = std::to_array<NamedNumber>({
    {"s", 1'000'000'000},
    {"ms", 1'000'000},
    {"us", 1'000},
    {"ns", 1},
});
constexpr std::uint64_t kLongestNs = 3'600'000'000'000;

const KindRow* find_kind(std::string_view name) {
    for (const KindRow& row : kKinds)
        if (row.name == name) return &row;
    return nullptr;
}

std::optional<std::uint64_t> number(std::string_view text) {
    const bool hexadecimal = text.starts_with("0x");
    if (hexadecimal) text.remove_prefix(2);
    std::uint64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value, hexadecimal ? 16 : 10);
    if (error != std::errc{} || stop != end || value == kAnyValue) return std::nullopt;
    return value;
}

std::optional<std::uint64_t> named(std::string_view text, const auto& names) {
    for (const NamedNumber& entry : names)
        if (entry.name == text) return entry.number;
    return std::nullopt;
}

std::optional<std::uint64_t> time_ns(std::string_view text) {
    const std::size_t unit = text.find_first_not_of("0123456789");
    if (unit == std::string_view::npos) return std::nullopt;
    const auto factor = named(text.substr(unit), kTimes);
    const auto count = number(text.substr(0, unit));
    if (!factor || !count || *count > kLongestNs / *factor) return std::nullopt;
    return *count * *factor;
}

// Parses a VALUE; returns nothing if it does not have that form.
std::optional<std::uint64_t> value_of(ValueForm form, std::string_view text) {
    std::optional<std::uint64_t> value;
    switch (form) {
        case ValueForm::kNone:
            break;
        case ValueForm::kCount:
            return number(text);
        case ValueForm::kCountOrEver:
            if (text == "ever") return kAnyValue;
            value = number(text);
            return value == 0U ? std::nullopt : value;
        case ValueForm::kIndexOrAny:
            return text == "any" ? kAnyValue : number(text);
        case ValueForm::kStatus:
            value = number(text);
            return value && *value > 1 && *value < 0x100 && *value != 0x80 && *value != 0x81
                       ? value
                       : std::nullopt;
        case ValueForm::kTime:
            return time_ns(text);
        case ValueForm::kErrno:
            return named(text, kErrnos);
    }
    return std::nullopt;
}

std::string_view wanted(ValueForm form) {
    switch (form) {
        case ValueForm::kNone:
            return "no value";
        case ValueForm::kCount:
            return "a number";
        case ValueForm::kCountOrEver:
            return "a number from 1 on, or 'ever'";
        case ValueForm::kIndexOrAny:
            return "a number, or 'any'";
        case ValueForm::kStatus:
            return "a status from 2 to 0xff that is not 0x80 or 0x81";
        case ValueForm::kTime:
            return "a time up to an hour with its unit (ns, us, ms, s)";
        case ValueForm::kErrno:
            return "an error's name, such as EPERM, EBUSY or EAGAIN";
    }
    return {};
}

// Parses digits with one dot, between 0 and 1. from_chars is not used, because some libraries got
// it for double late.
std::optional<double> chance_of(std::string_view text) {
    const std::size_t dot = text.find('.');
    const std::string_view whole = text.substr(0, dot);
    const std::string_view part = text.substr(dot + 1);
    if ((whole != "0" && whole != "1") || part.empty() || part.size() > 9) return std::nullopt;
    double chance = whole == "1" ? 1 : 0;
    double place = 0;
    double digits = 1;
    for (const char digit : part) {
        if (digit < '0' || digit > '9') return std::nullopt;
        place = place * 10 + (digit - '0');
        digits *= 10;
    }
    chance += place / digits;
    return chance <= 1 ? std::optional(chance) : std::nullopt;
}

std::optional<FaultWhen> when_of(std::string_view text) {
    FaultWhen when;
    if (text.find('.') != std::string_view::npos) {
        const auto chance = chance_of(text);
        if (!chance) return std::nullopt;
        return FaultWhen{FaultWhen::Kind::kChance, 0, *chance};
    }
    when.kind = FaultWhen::Kind::kAt;
    if (text.starts_with('/')) {
        when.kind = FaultWhen::Kind::kEvery;
        text.remove_prefix(1);
    } else if (text.ends_with('+')) {
        when.kind = FaultWhen::Kind::kFrom;
        text.remove_suffix(1);
    }
    const auto count = number(text);
    if (!count || (*count == 0 && when.kind == FaultWhen::Kind::kEvery)) return std::nullopt;
    when.count = *count;
    return when;
}

std::string complaint(std::string_view word, std::string_view what) {
    return "'" + std::string(word) + "' in the fault plan: " + std::string(what);
}

// Removes "wqQ." from the front; returns false if it is there but malformed.
bool take_queue(std::string_view& rest, FaultRule& rule) {
    if (!rest.starts_with("wq")) return true;
    const std::size_t dot = rest.find('.');
    if (dot == std::string_view::npos) return false;
    const auto queue = number(rest.substr(2, dot - 2));
    if (!queue || *queue > 255) return false;
    rule.queue = static_cast<int>(*queue);
    rest.remove_prefix(dot + 1);
    return true;
}

// Adds the word's rule to the plan; returns an error, or "".
std::string parse_word(std::string_view word, FaultPlan& plan) {
    if (word.starts_with("seed=")) {
        const auto seed = number(word.substr(5));
        if (!seed) return complaint(word, "the seed has to be a number");
        plan.seed = *seed;
        return {};
    }
    if (word.starts_with("random=")) {
        const auto seed = number(word.substr(7));
        if (!seed) return complaint(word, "the seed has to be a number");
        const FaultPlan drawn = random_plan(*seed);
        plan.seed = drawn.seed;
        plan.rules.insert(plan.rules.end(), drawn.rules.begin(), drawn.rules.end());
        return {};
    }
    FaultRule rule;
    std::string_view rest = word;
    if (!take_queue(rest, rule))
        return complaint(word, "write the queue as in wq0.drop, with a number from 0 to 255");
    std::string_view when;
    const std::size_t at = rest.find('@');
    if (at != std::string_view::npos) when = rest.substr(at + 1);
    const std::string_view name_and_value = rest.substr(0, at);
    const std::size_t equals = name_and_value.find('=');
    const KindRow* row = find_kind(name_and_value.substr(0, equals));
    if (row == nullptr) return complaint(word, "the fault is unknown");
    rule.kind = row->kind;
    if ((equals == std::string_view::npos) != (row->form == ValueForm::kNone))
        return complaint(word, std::string(row->name) + " takes " + std::string(wanted(row->form)));
    if (equals != std::string_view::npos) {
        const auto value = value_of(row->form, name_and_value.substr(equals + 1));
        if (!value) {
            return complaint(word,
                             std::string(row->name) + " takes " + std::string(wanted(row->form)));
        }
        rule.value = *value;
    }
    if (at != std::string_view::npos) {
        const auto parsed = when_of(when);
        if (!parsed)
            return complaint(word, "write N, N+, /N or a probability such as 0.01 after @");
        if (rule.kind == FaultKind::kHaltAfter)
            return complaint(word, "halt-after accepts nothing after @");
        rule.when = *parsed;
    }
    plan.rules.push_back(rule);
    return {};
}

std::string printed_time(std::uint64_t ns) {
    for (const NamedNumber& unit : kTimes)
        if (ns % unit.number == 0) return std::to_string(ns / unit.number) + std::string(unit.name);
    return {};
}

std::string printed_value(const FaultRule& rule, ValueForm form) {
    switch (form) {
        case ValueForm::kNone:
            return {};
        case ValueForm::kTime:
            return "=" + printed_time(rule.value);
        case ValueForm::kErrno:
            for (const NamedNumber& entry : kErrnos)
                if (entry.number == rule.value) return "=" + std::string(entry.name);
            return "=" + std::to_string(rule.value);
        case ValueForm::kStatus: {
            constexpr std::string_view kDigits = "0123456789abcdef";
            return std::string("=0x") + kDigits[rule.value >> 4U & 0xfU] +
                   kDigits[rule.value & 0xfU];
        }
        case ValueForm::kCountOrEver:
            if (rule.value == kAnyValue) return "=ever";
            break;
        case ValueForm::kIndexOrAny:
            if (rule.value == kAnyValue) return "=any";
            break;
        case ValueForm::kCount:
            break;
    }
    return "=" + std::to_string(rule.value);
}

// Prints as many digits as chance_of() reads.
std::string printed_chance(double chance) {
    constexpr std::uint64_t kBillion = 1'000'000'000;
    const auto billionths =
        static_cast<std::uint64_t>(std::llround(chance * static_cast<double>(kBillion)));
    std::string part = std::to_string(kBillion + billionths % kBillion).substr(1);
    part.erase(std::max<std::size_t>(part.find_last_not_of('0') + 1, 1));
    return std::to_string(billionths / kBillion) + "." + part;
}

std::string printed_when(const FaultWhen& when) {
    switch (when.kind) {
        case FaultWhen::Kind::kAlways:
            return {};
        case FaultWhen::Kind::kAt:
            return "@" + std::to_string(when.count);
        case FaultWhen::Kind::kFrom:
            return "@" + std::to_string(when.count) + "+";
        case FaultWhen::Kind::kEvery:
            return "@/" + std::to_string(when.count);
        case FaultWhen::Kind::kChance:
            return "@" + printed_chance(when.chance);
    }
    return {};
}

std::string printed(const FaultRule& rule) {
    std::string text;
    if (rule.queue >= 0) text = "wq" + std::to_string(rule.queue) + ".";
    for (const KindRow& row : kKinds) {
        if (row.kind != rule.kind) continue;
        text += std::string(row.name) + printed_value(rule, row.form) + printed_when(rule.when);
    }
    return text;
}

}  // namespace

ParsedFaultPlan parse_fault_plan(std::string_view text) {
    ParsedFaultPlan parsed;
    while (!text.empty() && parsed.error.empty()) {
        const std::size_t end = text.find_first_of(",:");
        const std::string_view word = text.substr(0, end);
        parsed.error =
            word.empty() ? complaint(text, "it has an empty word") : parse_word(word, parsed.plan);
        if (end != std::string_view::npos && end + 1 == text.size() && parsed.error.empty())
            parsed.error = complaint(text, "it has an empty word");
        text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    }
    return parsed;
}

std::string to_string(const FaultPlan& plan) {
    std::string text = "seed=" + std::to_string(plan.seed);
    for (const FaultRule& rule : plan.rules) text += "," + printed(rule);
    return text;
}

}  // namespace migrate::accel::softdsa
