// Parses the words of --source and --sink: "scheme:rest", and the "key=value" words that follow.
// Invariant: any mistake is a kUsage error that names the bad word and the allowed ones.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace migrate::memory {

struct Uri {
    std::string_view scheme;
    std::string_view rest;
};

// `option` is the name that the user knows ("--source"). A text without a scheme is a file's path;
// so is "./a:b".
Result<Uri> parse_uri(std::string_view option, std::string_view text,
                      std::span<const std::string_view> schemes);

// Splits the text at commas; an empty text gives no words.
std::vector<std::string_view> split_words(std::string_view text);

struct KeyValue {
    std::string_view key;
    std::string_view value;
};
// Parses "key=value" with one of the keys.
Result<KeyValue> parse_key_value(std::string_view uri, std::string_view word,
                                 std::span<const std::string_view> keys);
// Parses "on" or "off".
Result<bool> parse_switch(std::string_view uri, const KeyValue& word);

}  // namespace migrate::memory
