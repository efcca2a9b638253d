// The option accel-path: the devices that look for zero pages.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace migrate::accel {

struct AccelPath {
    enum class Kind {
        kDevice,    // dsa:/dev/dsa/wq0.0
        kSoftware,  // softdsa:2, a software device in this process
    };
    Kind kind = Kind::kDevice;
    std::string text;  // without the prefix
};

// Parses words separated by blanks; an empty text gives none. kUsage, naming the word, for a word
// without a prefix or a word that occurs twice.
Result<std::vector<AccelPath>> parse_accel_path(std::string_view text);

}  // namespace migrate::accel
