// SPDX-License-Identifier: Apache-2.0
// Suggestions for misspelled names: options, commands, scenarios.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace migrate {

// Returns the candidate that `text` probably means: it begins like it, is a part of it, or differs
// in at most a third of its characters. Nothing if none is that near. The first of several that
// are equally near.
std::optional<std::string_view> near_name(std::string_view text,
                                          std::span<const std::string_view> candidates);

// Returns the end of a message about the unknown name `text`: ": did you mean 'connect'?". If no
// candidate is near it lists them, ": use send, recv or probe", or is empty where they are many.
// `prefix` goes before each: "--".
std::string suggestion(std::string_view text, std::span<const std::string_view> candidates,
                       std::string_view prefix = "");

}  // namespace migrate
