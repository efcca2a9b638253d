// SPDX-License-Identifier: Apache-2.0
// Reads the values of a scenario's JSON. Every function fails with kUsage, names the key and says
// which values are allowed. A key that is missing leaves the value as it was.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "bench/json.hpp"

namespace migrate::bench {

template <typename... Args>
Error wrong(fmt::format_string<Args...> format, Args&&... args) {
    return make_error(ErrorKind::kUsage, format, std::forward<Args>(args)...);
}

// `json` must be an object with no other keys than these. `what` names it in the message.
Status check_object(const Json& json, std::string_view what,
                    std::span<const std::string_view> keys);
// 1 to 40 small letters, digits and hyphens.
Status check_name(const std::string& name);

// 1 to 600 bytes.
Status read_text(const Json& json, std::string_view key, std::string& to);
// A whole number from `min` to `max`.
Status read_count(const Json& json, std::string_view key, unsigned min, unsigned max, unsigned& to);
// A size of 1M to 16T in whole pages, as text.
Status read_size(const Json& json, std::string_view key, std::uint64_t& to);
// A finite number that is not negative.
Status read_positive(const Json& json, std::string_view key, std::optional<double>& to);
// A text, or a list of 1 to 64 texts.
Status read_texts(const Json& json, std::string_view key, std::vector<std::string>& to);

}  // namespace migrate::bench
