// The suggestion for a name that is misspelt.
#pragma once

#include <span>
#include <string_view>

namespace migrate {

// Returns the candidate that `text` most likely means, by edit distance. `candidates` is not empty.
std::string_view nearest_name(std::string_view text, std::span<const std::string_view> candidates);

}  // namespace migrate
