// SPDX-License-Identifier: Apache-2.0
// The value of a setting in the type that it has in reports and over QMP: a number in the row's
// unit (bytes, bytes per second, milliseconds), true or false, or a text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/config/settings.hpp"

namespace migrate {

// A word that replaces a number ("auto", "off", "forever") is a text. Lists are texts with blanks
// between their entries.
using SettingValue = std::variant<bool, std::uint64_t, std::string>;
// Settings by key, in the order in which they are reported. Each key is there once.
using SettingValues = std::vector<std::pair<std::string, SettingValue>>;

SettingValue setting_value(const Option& option, const OptionValue& value);
// The same for a number of a row that is not textual.
SettingValue setting_value(const Option& option, std::uint64_t number);

// Every option of the settings' side.
SettingValues setting_values(const Settings& settings);

// Sets one value: in its place if the key is there, else at the end.
void set_value(SettingValues& values, std::string_view key, SettingValue value);
// Sets all of `stronger`.
void set_values(SettingValues& values, const SettingValues& stronger);

}  // namespace migrate
