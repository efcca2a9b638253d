// SPDX-License-Identifier: Apache-2.0
// Joins lists for messages.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace migrate {

// Returns "a", "a and b", "a, b and c", with the given conjunction. `Words`: a span or vector of
// strings.
template <typename Words>
std::string join_words(const Words& words, std::string_view conjunction) {
    std::string joined;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (i != 0 && i + 1 == words.size()) {
            joined += ' ';
            joined += conjunction;
            joined += ' ';
        } else if (i != 0) {
            joined += ", ";
        }
        joined += words[i];
    }
    return joined;
}

}  // namespace migrate
