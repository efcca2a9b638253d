// SPDX-License-Identifier: Apache-2.0
// One option: a row of the option table, and a value of it as text. Invariant: parse_option()
// accepts only what the row allows, and turns the text of option_text() back into the same value.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace migrate {

// The two commands that read settings.
enum class Side { kSend, kRecv };
// "migrate send"
std::string_view command_name(Side side);
constexpr Side other_side(Side side) { return side == Side::kSend ? Side::kRecv : Side::kSend; }

enum class OptionSide { kSend, kRecv, kBoth };

enum class OptionType {
    kText,            // any text; empty is "not set"
    kForm,            // text in one of the forms of `forms`; empty is "not set"
    kForms,           // any number of them, with blanks between them; in JSON also a list
    kWords,           // any number of words with blanks between them; in JSON also a list
    kHostPort,        // HOST:PORT, IPv6 as [::1]:4444; the range is the port's; empty is "not set"
    kHostPorts,       // any number of them, with blanks between them; in JSON also a list
    kChoice,          // one of `choices`; NAME:N stands for the name and a number, min … max
    kOnOff,           // on or off
    kInteger,         // min … max
    kBytes,           // min … max bytes
    kBytesPerSecond,  // min … max bytes per second
    kDurationMs,      // min … max milliseconds
};

// Headings of the help, in the order of the help.
enum class OptionSection {
    kConnection,
    kSecurity,
    kMemory,
    kChannels,
    kZeroPages,
    kCompression,
    kDevices,
    kLive,
    kReports
};
std::string_view section_title(OptionSection section);
std::span<const OptionSection> all_sections();

inline constexpr std::uint64_t kNoMaximum = std::numeric_limits<std::uint64_t>::max();

struct FormTable;

struct Option {
    std::string_view key;  // JSON key and, with "--" before it, the flag
    OptionType type = OptionType::kText;
    OptionSide side = OptionSide::kBoth;
    OptionSection section = OptionSection::kReports;  // set by in_section()
    std::string_view default_text = "";               // as a user writes it
    std::uint64_t min = 0;
    std::uint64_t max = kNoMaximum;
    std::uint64_t multiple_of = 1;
    std::string_view word = "";    // a word that is accepted beside numbers, HOST:PORT
    std::uint64_t word_value = 0;  // the number that `word` stands for
    std::span<const std::string_view> choices{};  // kNames of the enum (base/enum_names.hpp)
    const FormTable* forms = nullptr;             // see base/config/form.hpp
    std::string_view value_name = "";             // for the help: "HOST:PORT"; empty: from the type
    std::string_view help = "";                   // one sentence or two, without default and range
    bool everyday = false;  // `--help` shows it; the others are in `--help all`
    bool required = false;  // the command does not start without it; such a row has no default
    std::string_view instead = "";  // key of an option that makes this one not required
    bool alone = false;             // on/off: the flag without a value stands for "on"
    bool live = false;              // may change while a migration runs
    // May occur several times. kText in a form: its values have commas between them; see
    // base/config/form.hpp. An option: its values have blanks between them.
    bool repeats = false;
    // The sender's value holds for both sides. The offer carries it as text, and the receiver
    // checks it against this row. The default is part of the protocol: a value that the offer lacks
    // has it.
    bool negotiated = false;
};

// Returns the rows as rows of this section.
template <std::size_t kRows>
constexpr std::array<Option, kRows> in_section(OptionSection section,
                                               std::array<Option, kRows> rows) {
    for (Option& row : rows) row.section = section;
    return rows;
}

constexpr bool option_applies(const Option& option, Side side) {
    return option.side == OptionSide::kBoth ||
           (option.side == OptionSide::kSend) == (side == Side::kSend);
}

// Text of one of these types is kept as it is; the other types become a number.
constexpr bool is_textual(OptionType type) {
    return type == OptionType::kText || type == OptionType::kForm || type == OptionType::kForms ||
           type == OptionType::kWords || type == OptionType::kHostPort ||
           type == OptionType::kHostPorts || type == OptionType::kChoice;
}

// Any number of values with blanks between them; in JSON also a list.
constexpr bool is_list(OptionType type) {
    return type == OptionType::kForms || type == OptionType::kWords ||
           type == OptionType::kHostPorts;
}

// A value of a row, in the member that fits the row's type.
struct OptionValue {
    std::string text;          // if is_textual() is true for the type
    std::uint64_t number = 0;  // for all other types; on is 1, off is 0; N of a choice NAME:N
};

// Returns the value that `text` stands for. Fails with kUsage: "option KEY: REASON".
Result<OptionValue> parse_option(const Option& option, std::string_view text);
// The same without "option KEY: " in the Error.
Result<OptionValue> parse_value(const Option& option, std::string_view text);
// Returns the shortest text that parse_option() turns back into this value.
std::string option_text(const Option& option, const OptionValue& value);

// The values of a text of a list, without the blanks.
std::vector<std::string_view> split_list(std::string_view text);

// The choices, or on and off, or nothing for other types.
std::span<const std::string_view> choices_of(const Option& option);
// The placeholder that the help shows after the flag: "HOST:PORT", "none|lz4|zstd", "SIZE", "TIME".
std::string value_name_of(const Option& option);
// The allowed values: "1 … 255", "4K … 4M, a multiple of 4K", "0 … 100 or off"; empty if any text
// is allowed.
std::string allowed_text(const Option& option);

}  // namespace migrate
