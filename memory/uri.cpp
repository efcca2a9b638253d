#include "memory/uri.hpp"

#include <algorithm>
#include <string>

#include "base/join_words.hpp"

namespace migrate::memory {
namespace {

bool contains(std::span<const std::string_view> words, std::string_view word) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

Result<Uri> parse_uri(std::string_view option, std::string_view text,
                      std::span<const std::string_view> schemes) {
    if (text.empty()) {
        return make_error(ErrorKind::kUsage,
                          "{} is empty: a file's path, or one of {} followed by a colon", option,
                          join_words(schemes, "and"));
    }
    const std::size_t colon = text.find(':');
    const std::size_t slash = text.find('/');
    const bool has_scheme =
        colon != std::string_view::npos && (slash == std::string_view::npos || colon < slash);
    Uri uri{"file", text};
    if (has_scheme) uri = {text.substr(0, colon), text.substr(colon + 1)};
    if (!contains(schemes, uri.scheme)) {
        return make_error(
            ErrorKind::kUsage,
            "{} {}: unknown kind '{}:'; the kinds are {} (for a file of that name: file:{})",
            option, text, uri.scheme, join_words(schemes, "and"), text);
    }
    if (uri.scheme == "file" && uri.rest.empty()) {
        return make_error(ErrorKind::kUsage, "{} {}: the file's path is missing", option, text);
    }
    if (uri.rest.find('\0') != std::string_view::npos) {
        return make_error(ErrorKind::kUsage, "{}: the path holds a zero byte", option);
    }
    return uri;
}

std::vector<std::string_view> split_words(std::string_view text) {
    std::vector<std::string_view> words;
    if (text.empty()) return words;
    std::size_t start = 0;
    for (std::size_t comma = 0; comma != std::string_view::npos; start = comma + 1) {
        comma = text.find(',', start);
        words.push_back(
            text.substr(start, comma == std::string_view::npos ? comma : comma - start));
    }
    return words;
}

Result<KeyValue> parse_key_value(std::string_view uri, std::string_view word,
                                 std::span<const std::string_view> keys) {
    const std::size_t equals = word.find('=');
    const std::string_view key = word.substr(0, equals);
    if (!contains(keys, key)) {
        return make_error(ErrorKind::kUsage, "{}: unknown word '{}'; allowed here: {}", uri, word,
                          join_words(keys, "and"));
    }
    if (equals == std::string_view::npos || equals + 1 == word.size()) {
        return make_error(ErrorKind::kUsage, "{}: '{}' lacks its value: {}=…", uri, word, key);
    }
    return KeyValue{key, word.substr(equals + 1)};
}

Result<bool> parse_switch(std::string_view uri, const KeyValue& word) {
    if (word.value == "on") return true;
    if (word.value == "off") return false;
    return make_error(ErrorKind::kUsage, "{}: {}={}: allowed values are on and off", uri, word.key,
                      word.value);
}

}  // namespace migrate::memory
