// SPDX-License-Identifier: Apache-2.0
// The one JSON type of the bench: keys stay in the order in which they were written.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace migrate::bench {

using Json = nlohmann::ordered_json;

// The text under a key, or `otherwise` where there is none.
inline std::string text_at(const Json& json, std::string_view key,
                           std::string_view otherwise = "") {
    const auto found = json.find(key);
    return found != json.end() && found->is_string() ? found->get<std::string>()
                                                     : std::string(otherwise);
}

// True if the key holds true.
inline bool flag_at(const Json& json, std::string_view key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_boolean() && found->get<bool>();
}

}  // namespace migrate::bench
