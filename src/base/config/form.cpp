// SPDX-License-Identifier: Apache-2.0
#include "base/config/form.hpp"

#include <algorithm>

#include "base/join_words.hpp"

namespace migrate {
namespace {

// "file:PATH, anon:SIZE or null:"
std::string all_syntaxes(const FormTable& table) {
    std::vector<std::string> syntaxes;
    for (const Form& form : table.forms) {
        syntaxes.push_back(form.alone ? form_syntax(form)
                                      : fmt::format("{}:{}", form.name, form.operand.key));
    }
    return join_words(syntaxes, "or");
}

const Form* find_form(const FormTable& table, std::string_view name) {
    const auto found = std::find_if(table.forms.begin(), table.forms.end(),
                                    [name](const Form& form) { return form.name == name; });
    return found == table.forms.end() ? nullptr : &*found;
}

Error unknown_form(const FormTable& table, std::string_view text, bool has_name) {
    const std::string allowed = all_syntaxes(table);
    if (!has_name) return make_error(ErrorKind::kUsage, "write {}", allowed);
    const std::string_view name = text.substr(0, text.find(':'));
    return make_error(
        ErrorKind::kUsage, "there is no kind '{}:'; write {}{}", name, allowed,
        table.bare_path ? fmt::format(" (a file of that name is file:{})", text) : "");
}

struct NamedText {
    const Form* form;
    std::string_view rest;  // after the name's colon
};

// "file:"; empty for a form without a name.
std::string form_mark(const Form& form) {
    return form.name.empty() ? std::string() : fmt::format("{}:", form.name);
}

// A colon after a slash belongs to a path.
Result<NamedText> find_named(const FormTable& table, std::string_view text) {
    if (table.forms.front().name.empty()) return NamedText{&table.forms.front(), text};
    const std::size_t colon = text.find(':');
    const bool has_name = colon != std::string_view::npos && colon < text.find('/');
    if (!has_name && table.bare_path && !text.empty()) {
        return NamedText{find_form(table, "file"), text};
    }
    if (!has_name) {
        const Form* alone = find_form(table, text);
        if (alone != nullptr && alone->alone) return NamedText{alone, ""};
    }
    const Form* form = has_name ? find_form(table, text.substr(0, colon)) : nullptr;
    if (form == nullptr) return unknown_form(table, text, has_name);
    return NamedText{form, text.substr(colon + 1)};
}

// Takes the text up to the next comma off `rest`.
std::string_view take_item(std::string_view& rest) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view item = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    return item;
}

Status read_operand(const Form& form, std::string_view text, ParsedForm& parsed) {
    const Option& operand = form.operand;
    if (text.empty()) {
        return make_error(ErrorKind::kUsage, "{} is missing: write {}", operand.key,
                          form_syntax(form));
    }
    auto value = parse_value(operand, text);
    if (!value) return std::move(value).error().with_context(operand.key);
    parsed.operand = {*std::move(value), true};
    return {};
}

Error unknown_word(const Form& form, std::string_view item) {
    std::vector<std::string_view> keys;
    for (const Option& row : form.words) keys.push_back(row.key);
    const std::string takes = fmt::format("{} takes {}", form.name.empty() ? "it" : form_mark(form),
                                          join_words(keys, "and"));
    if (item.empty()) {
        return make_error(ErrorKind::kUsage, "a word is missing at a comma; {}", takes);
    }
    return make_error(ErrorKind::kUsage, "unknown word '{}'; {}", item, takes);
}

Status read_word(const Form& form, std::string_view item, ParsedForm& parsed) {
    const std::size_t equals = std::min(item.find('='), item.size());
    const std::string_view key = item.substr(0, equals);
    const std::size_t index = find_row(form.words, key);
    if (index == form.words.size()) return unknown_word(form, key);
    const Option& row = form.words[index];
    if (equals + 1 >= item.size()) {
        return make_error(ErrorKind::kUsage, "{} needs a value: {}={}", key, key,
                          value_name_of(row));
    }
    auto value = parse_value(row, item.substr(equals + 1));
    if (!value) return std::move(value).error().with_context(key);
    WordValue& word = parsed.words[index];
    if (word.given && !row.repeats) {
        return make_error(ErrorKind::kUsage, "{} is given twice", key);
    }
    if (word.given) value->text.insert(0, word.value.text + ',');
    word = {*std::move(value), true};
    return {};
}

Status read_words(const Form& form, std::string_view rest, ParsedForm& parsed) {
    const bool ends_with_comma = rest.ends_with(',');
    while (!rest.empty()) MIGRATE_TRY(read_word(form, take_item(rest), parsed));
    if (ends_with_comma) return unknown_word(form, "");
    for (std::size_t i = 0; i < form.words.size(); ++i) {
        const Option& row = form.words[i];
        if (!row.required || parsed.words[i].given) continue;
        return make_error(ErrorKind::kUsage, "{}={} is missing", row.key, value_name_of(row));
    }
    return {};
}

// The values before any word is read.
Result<ParsedForm> defaults_of(const Form& form, std::string_view text) {
    ParsedForm parsed{.form = &form, .rest = std::string(text), .operand = {}, .words = {}};
    const auto default_of = [](const Option& row) -> Result<WordValue> {
        if (row.default_text.empty()) return WordValue{};
        MIGRATE_ASSIGN(OptionValue value, parse_value(row, row.default_text));
        return WordValue{std::move(value), false};
    };
    MIGRATE_ASSIGN(parsed.operand, default_of(form.operand));
    for (const Option& row : form.words) {
        MIGRATE_ASSIGN(WordValue value, default_of(row));
        parsed.words.push_back(std::move(value));
    }
    return parsed;
}

}  // namespace

Result<ParsedForm> parse_words(const Form& form, std::string_view text) {
    MIGRATE_ASSIGN(ParsedForm parsed, defaults_of(form, text));
    const bool has_operand = !form.operand.key.empty();
    if (has_operand && form.words.empty()) {
        if (!form.operand.required && text.empty()) return parsed;
        MIGRATE_TRY(read_operand(form, text, parsed));
        return parsed;
    }
    if (!has_operand && form.words.empty()) {
        if (text.empty()) return parsed;
        return make_error(ErrorKind::kUsage, "nothing may follow {}:, but '{}' does", form.name,
                          text);
    }
    if (has_operand) {
        std::string_view rest = text;
        const std::string_view first = take_item(rest);
        const bool is_word = first.find('=') != std::string_view::npos;
        if (form.operand.required || (!first.empty() && !is_word)) {
            MIGRATE_TRY(read_operand(form, first, parsed));
            // A comma at the end still announces a word.
            text.remove_prefix(first.size());
            if (text == ",") return unknown_word(form, "");
            text = rest;
        }
    }
    MIGRATE_TRY(read_words(form, text, parsed));
    return parsed;
}

Result<ParsedForm> parse_form(const FormTable& table, std::string_view text) {
    const auto parse = [&]() -> Result<ParsedForm> {
        MIGRATE_ASSIGN(const NamedText named, find_named(table, text));
        return parse_words(*named.form, named.rest);
    };
    auto parsed = parse();
    if (parsed) return parsed;
    return std::move(parsed).error().with_context(fmt::format("'{}'", text));
}

Result<std::vector<ParsedForm>> parse_forms(const FormTable& table, std::string_view text) {
    std::vector<ParsedForm> all;
    for (const std::string_view one : split_list(text)) {
        MIGRATE_ASSIGN(ParsedForm parsed, parse_form(table, one));
        all.push_back(std::move(parsed));
    }
    return all;
}

std::vector<std::string_view> split_values(std::string_view text) {
    std::vector<std::string_view> values;
    while (!text.empty()) values.push_back(take_item(text));
    return values;
}

std::string form_syntax(const Form& form) {
    if (form.alone) {
        return form.operand.key.empty() ? std::string(form.name)
                                        : fmt::format("{}[:{}]", form.name, form.operand.key);
    }
    const bool optional = !form.operand.key.empty() && !form.operand.required;
    std::string syntax = fmt::format("{}{}{}{}", form_mark(form), optional ? "[" : "",
                                     form.operand.key, optional ? "]" : "");
    for (const Option& row : form.words) {
        if (!row.required) continue;
        syntax += fmt::format("{}{}={}", syntax.empty() ? "" : ",", row.key, value_name_of(row));
    }
    if (form.words.empty()) return syntax;
    return syntax + (syntax.ends_with(':') ? "[WORD=VALUE…]" : "[,WORD=VALUE…]");
}

}  // namespace migrate
