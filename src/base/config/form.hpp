// SPDX-License-Identifier: Apache-2.0
// The forms of an option whose value is more than a number or a choice: "anon:4G,fill=zero". A form
// is a name, an operand and words; operand and words are rows like those of the option table.
// Invariant: one parser reads all forms, and its errors say what is wrong and what is allowed.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/config/option.hpp"
#include "base/config/row_value.hpp"
#include "base/error.hpp"

namespace migrate {

// NAME:OPERAND[,KEY=VALUE]…, or KEY=VALUE… for a form without a name. Without words, the operand is
// everything after the colon. An operand that is not required may be missing: then the first word
// follows the colon.
struct Form {
    std::string_view name;  // empty: the only form of its table, words alone: "remote=a:1"
    std::string_view help;  // one sentence or two
    Option operand{};       // `key` is its placeholder: "SIZE"; empty: the form has none
    std::span<const Option> words{};
    // The name may stand alone, without a colon. Such a form needs no operand.
    bool alone = false;
};

struct FormTable {
    std::span<const Form> forms;
    // A text that has no form's name before it is a path, as with file:PATH.
    bool bare_path = false;
};

// The value of a word, or of an operand.
struct WordValue {
    OptionValue value;   // the row's default if the word does not occur and the row has one
    bool given = false;  // the word occurs
};

// A text in one of the forms.
struct ParsedForm {
    const Form* form = nullptr;
    std::string rest;  // the text after the form's name and colon
    WordValue operand;
    std::vector<WordValue> words;  // one for each row of form->words

    bool is(std::string_view name) const { return form->name == name; }
};

// Reads "anon:4G,fill=zero". Fails with kUsage: "'TEXT': REASON".
Result<ParsedForm> parse_form(const FormTable& table, std::string_view text);
// Reads texts with blanks between them.
Result<std::vector<ParsedForm>> parse_forms(const FormTable& table, std::string_view text);
// Reads operand and words of one form: "4G,fill=zero". The Error does not repeat the text.
Result<ParsedForm> parse_words(const Form& form, std::string_view text);

// Splits the text of a word that may repeat: its values, with commas between them.
std::vector<std::string_view> split_values(std::string_view text);

// For help and messages: "anon:SIZE[,WORD=VALUE…]".
std::string form_syntax(const Form& form);

// Access to words by key.
template <const auto& kRows>
class Words {
  public:
    // `parsed` has the form whose words are kRows.
    explicit Words(const ParsedForm& parsed) : values_(parsed.words) {}

    template <FixedString Key>
    requires HasRow<kRows, Key>
    bool has() const { return values_[find_row(kRows, Key.view())].given; }

    template <FixedString Key, typename T = void>
    requires HasRow<kRows, Key>
    decltype(auto) get() const {
        constexpr std::size_t kIndex = find_row(kRows, Key.view());
        return row_value<kRows, kIndex, T>(values_[kIndex].value);
    }

  private:
    const std::vector<WordValue>& values_;
};

}  // namespace migrate
