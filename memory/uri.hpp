// The words of --source and --sink: "scheme:rest", and the "key=value" words that follow.
// Invariant: whatever is wrong with them is a kUsage error that names the bad word and the allowed
// ones.
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

// `option` is how the user names it ("--source"). A text without a scheme is a file's path; "./a:b"
// is a path too.
Result<Uri> parse_uri(std::string_view option, std::string_view text,
                      std::span<const std::string_view> schemes);

// The words between commas; none for an empty text.
std::vector<std::string_view> split_words(std::string_view text);

struct KeyValue {
    std::string_view key;
    std::string_view value;
};
// "key=value" with one of the keys.
Result<KeyValue> parse_key_value(std::string_view uri, std::string_view word,
                                 std::span<const std::string_view> keys);
// "on" or "off".
Result<bool> parse_switch(std::string_view uri, const KeyValue& word);

}  // namespace migrate::memory
