// SPDX-License-Identifier: Apache-2.0
// The options that a user of the library may set: those of the option table that say how memory
// moves. The others name files, messages and sources of the program.
#pragma once

#include <string_view>

#include "base/config/setting_value.hpp"
#include "base/config/settings.hpp"
#include "base/error.hpp"

namespace migrate::lib {

bool is_library_option(std::string_view key);
// Sets "NAME=VALUE". kUsage for any other text, an option of the program, and a value that is not
// allowed.
Status set_library_option(Settings& settings, std::string_view text);
// The same for options that may change while a migration runs.
Status change_library_option(Settings& settings, std::string_view text);
// Checks all values together, as validate() does for the program. `settings` get the source or the
// sink, which the program's validation requires.
Status validate_for_library(Settings settings);
// The values of all options that the library has.
SettingValues library_values(const Settings& settings);

}  // namespace migrate::lib
