// SPDX-License-Identifier: Apache-2.0
#include "base/config/unit_text.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <limits>
#include <optional>

#include "base/units.hpp"

namespace migrate {
namespace {

struct Unit {
    std::string_view suffix;
    std::uint64_t factor;
};

constexpr std::uint64_t kTiB = 1024 * kGiB;
constexpr std::array kByteUnits{
    Unit{"", 1},     Unit{"k", kKiB},   Unit{"kib", kKiB}, Unit{"m", kMiB},   Unit{"mib", kMiB},
    Unit{"g", kGiB}, Unit{"gib", kGiB}, Unit{"t", kTiB},   Unit{"tib", kTiB},
};
// Beside kByteUnits. A link's speed is given in decimal multiples of a bit: 1 kbit is 125 bytes.
constexpr std::array kBitUnits{
    Unit{"kbit", 125},
    Unit{"mbit", 125'000},
    Unit{"gbit", 125'000'000},
    Unit{"tbit", 125'000'000'000},
};
constexpr std::array kDurationUnits{
    Unit{"", 1}, Unit{"ms", 1}, Unit{"s", 1000}, Unit{"min", 60'000}, Unit{"h", 3'600'000},
};

constexpr std::string_view kBytesAllowed =
    "a whole number of bytes, or a number with K, M, G or T (KiB, MiB, GiB, TiB): 512K or 1.5G";
constexpr std::string_view kRateAllowed =
    "a whole number of bytes per second, or a number with K, M, G or T, or with kbit/s, Mbit/s, "
    "Gbit/s or Tbit/s: 200M/s or 1Gbit/s";
constexpr std::string_view kDurationAllowed =
    "a whole number of milliseconds, or one with ms, s, min or h: 500ms or 30s";

// A decimal number in its parts: digits before and after the point, and the text after them.
struct NumberText {
    std::string_view whole;
    std::string_view fraction;
    std::string_view suffix;
};

std::size_t count_digits(std::string_view text) {
    const auto end =
        std::find_if(text.begin(), text.end(), [](char c) { return c < '0' || c > '9'; });
    return static_cast<std::size_t>(end - text.begin());
}

std::optional<NumberText> split_number(std::string_view text) {
    NumberText parts;
    parts.whole = text.substr(0, count_digits(text));
    if (parts.whole.empty()) return std::nullopt;
    std::string_view rest = text.substr(parts.whole.size());
    if (rest.starts_with('.')) {
        rest.remove_prefix(1);
        parts.fraction = rest.substr(0, count_digits(rest));
        if (parts.fraction.empty()) return std::nullopt;
        rest.remove_prefix(parts.fraction.size());
    }
    parts.suffix = rest;
    return parts;
}

std::optional<std::uint64_t> to_number(std::string_view digits) {
    std::uint64_t value = 0;
    const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (code != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
    return value;
}

std::optional<std::uint64_t> multiply(std::uint64_t value, std::uint64_t factor) {
    if (factor != 0 && value > std::numeric_limits<std::uint64_t>::max() / factor) {
        return std::nullopt;
    }
    return value * factor;
}

const Unit* find_unit(std::string_view suffix, const auto& units) {
    const auto same = [](char a, char b) {
        return std::tolower(static_cast<unsigned char>(a)) == b;
    };
    const auto* found = std::find_if(units.begin(), units.end(), [&](const Unit& unit) {
        return std::equal(suffix.begin(), suffix.end(), unit.suffix.begin(), unit.suffix.end(),
                          same);
    });
    return found == units.end() ? nullptr : &*found;
}

// Returns `fraction` of the unit. `fraction` holds the digits after the point. Nothing unless the
// result is a whole number.
std::optional<std::uint64_t> fraction_of(std::string_view fraction, std::uint64_t factor) {
    // Trailing zeros do not change the value and must not overflow the scale.
    while (fraction.ends_with('0')) fraction.remove_suffix(1);
    std::uint64_t scale = 1;
    for (std::size_t i = 0; i < fraction.size(); ++i) {
        const auto larger = multiply(scale, 10);
        if (!larger) return std::nullopt;
        scale = *larger;
    }
    const auto digits = fraction.empty() ? std::uint64_t{0} : to_number(fraction);
    if (!digits) return std::nullopt;
    const auto product = multiply(*digits, factor);
    if (!product || *product % scale != 0) return std::nullopt;
    return *product / scale;
}

std::string exact_text(std::uint64_t value, const auto& units) {
    if (value == 0) return "0";
    const Unit* best = &units.front();
    for (const Unit& unit : units) {
        if (value % unit.factor == 0 && unit.factor > best->factor) best = &unit;
    }
    return fmt::format("{}{}", value / best->factor, best->suffix);
}

// Returns the bytes that a number in parts stands for. `text` is for messages.
Result<std::uint64_t> bytes_of(const NumberText& parts, const Unit& unit, std::string_view text) {
    const auto number = to_number(parts.whole);
    const auto whole = number ? multiply(*number, unit.factor) : std::nullopt;
    if (!whole) return make_error(ErrorKind::kUsage, "'{}' does not fit into 64 bits", text);
    const auto fraction = fraction_of(parts.fraction, unit.factor);
    if (!fraction) {
        return make_error(ErrorKind::kUsage, "'{}' is not a whole number of bytes", text);
    }
    if (*whole > std::numeric_limits<std::uint64_t>::max() - *fraction) {
        return make_error(ErrorKind::kUsage, "'{}' does not fit into 64 bits", text);
    }
    return *whole + *fraction;
}

}  // namespace

Result<std::uint64_t> parse_bytes(std::string_view text) {
    const auto parts = split_number(text);
    const Unit* unit = parts ? find_unit(parts->suffix, kByteUnits) : nullptr;
    if (unit == nullptr) {
        return make_error(ErrorKind::kUsage, "'{}' is not a size: write {}", text, kBytesAllowed);
    }
    return bytes_of(*parts, *unit, text);
}

Result<std::uint64_t> parse_bytes_per_second(std::string_view text) {
    constexpr std::string_view kPerSecond = "/s";
    const bool has_per_second = text.ends_with(kPerSecond);
    const auto parts =
        split_number(text.substr(0, text.size() - (has_per_second ? kPerSecond.size() : 0)));
    const Unit* unit = parts ? find_unit(parts->suffix, kByteUnits) : nullptr;
    if (parts && unit == nullptr) unit = find_unit(parts->suffix, kBitUnits);
    if (unit == nullptr) {
        return make_error(ErrorKind::kUsage, "'{}' is not a rate: write {}", text, kRateAllowed);
    }
    return bytes_of(*parts, *unit, text);
}

Result<std::uint64_t> parse_duration_ms(std::string_view text) {
    const auto parts = split_number(text);
    const Unit* unit =
        parts && parts->fraction.empty() ? find_unit(parts->suffix, kDurationUnits) : nullptr;
    if (unit == nullptr) {
        return make_error(ErrorKind::kUsage, "'{}' is not a duration: write {}", text,
                          kDurationAllowed);
    }
    const auto number = to_number(parts->whole);
    const auto value = number ? multiply(*number, unit->factor) : std::nullopt;
    if (!value) return make_error(ErrorKind::kUsage, "'{}' does not fit into 64 bits", text);
    return *value;
}

Result<std::uint64_t> parse_integer(std::string_view text) {
    const std::size_t digits = count_digits(text);
    if (digits != 0 && digits < text.size() && find_unit(text.substr(digits), kByteUnits)) {
        return make_error(ErrorKind::kUsage, "'{}' is not a whole number: write it without a unit",
                          text);
    }
    if (text.empty() || digits != text.size()) {
        return make_error(ErrorKind::kUsage, "'{}' is not a whole number", text);
    }
    const auto value = to_number(text);
    if (!value) return make_error(ErrorKind::kUsage, "'{}' does not fit into 64 bits", text);
    return *value;
}

std::string format_bytes(std::uint64_t bytes) {
    constexpr std::array<std::string_view, 6> kNames{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < kKiB) return fmt::format("{} byte{}", bytes, bytes == 1 ? "" : "s");
    double value = static_cast<double>(bytes) / static_cast<double>(kKiB);
    std::size_t name = 0;
    // From 1023.995 on, the smaller unit would print "1024.00".
    while (value >= 1023.995 && name + 1 < kNames.size()) {
        value /= static_cast<double>(kKiB);
        ++name;
    }
    return fmt::format("{:.2f} {}", value, kNames[name]);
}

std::string format_rate(double bytes_per_second) {
    const double rate = bytes_per_second / static_cast<double>(kMiB);
    // From 9.95 on, one decimal would print "10.0".
    return rate < 9.95 ? fmt::format("{:.1f} MiB/s", rate) : fmt::format("{:.0f} MiB/s", rate);
}

std::string format_duration_ms(std::uint64_t duration_ms) {
    if (duration_ms < 1000) return fmt::format("{} ms", duration_ms);
    // Hundredths of a second are cut off, not rounded, so that "60.00 s" is never shown.
    const std::uint64_t seconds = duration_ms / 1000;
    if (seconds < 60) return fmt::format("{}.{:02} s", seconds, duration_ms % 1000 / 10);
    if (seconds < 3600) return fmt::format("{} min {} s", seconds / 60, seconds % 60);
    return fmt::format("{} h {} min", seconds / 3600, seconds % 3600 / 60);
}

std::string exact_bytes_text(std::uint64_t bytes) {
    constexpr std::array kShown{Unit{"", 1}, Unit{"K", kKiB}, Unit{"M", kMiB},
                                Unit{"G", kMiB * kKiB}, Unit{"T", kMiB * kMiB}};
    return exact_text(bytes, kShown);
}

std::string exact_duration_text(std::uint64_t duration_ms) {
    constexpr std::array kShown{Unit{"ms", 1}, Unit{"s", 1000}, Unit{"min", 60'000},
                                Unit{"h", 3'600'000}};
    return exact_text(duration_ms, kShown);
}

}  // namespace migrate
