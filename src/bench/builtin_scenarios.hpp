// SPDX-License-Identifier: Apache-2.0
// The scenarios of configs/scenarios, compiled into the program: an installed `migrate bench` needs
// no other file. The build writes the definition (cmake/Scenarios.cmake).
#pragma once

#include <span>
#include <string_view>

namespace migrate::bench {

struct BuiltinScenario {
    std::string_view name;  // the file's name without .json
    std::string_view text;  // the file's content
};

// All of them, sorted by name.
std::span<const BuiltinScenario> builtin_scenarios();

}  // namespace migrate::bench
