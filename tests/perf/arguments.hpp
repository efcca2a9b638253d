// SPDX-License-Identifier: Apache-2.0
// The arguments of the measuring programs: NAME=VALUE.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.hpp"

namespace migrate::perf {

using Arguments = std::map<std::string, std::string>;

// `known` has each name with its default. kUsage for any other name.
inline Result<Arguments> parse_arguments(int argc, char** argv, Arguments known) {
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        const auto equals = argument.find('=');
        const auto place = known.find(std::string(argument.substr(0, equals)));
        if (equals == std::string_view::npos || place == known.end()) {
            return make_error(ErrorKind::kUsage, "unknown argument '{}'", argument);
        }
        place->second = argument.substr(equals + 1);
    }
    return known;
}

}  // namespace migrate::perf
