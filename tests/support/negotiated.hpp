// SPDX-License-Identifier: Apache-2.0
// Settings that both sides share, for tests.
#pragma once

#include <cstdlib>
#include <initializer_list>
#include <string>
#include <utility>

#include "base/config/negotiated_settings.hpp"

namespace migrate {

// Sets an option to a value that is allowed; a value that is not ends the test program.
inline void set_negotiated(NegotiatedSettings& settings, const char* key,
                           const std::string& value) {
    if (!settings.set(key, value)) std::abort();
}

inline NegotiatedSettings negotiated(
    std::initializer_list<std::pair<const char*, std::string>> values) {
    NegotiatedSettings settings;
    for (const auto& [key, value] : values) set_negotiated(settings, key, value);
    return settings;
}

}  // namespace migrate
