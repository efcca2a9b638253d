// The option accel-path: which devices look for zero pages.
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

// Words with blanks between them; none for an empty text. kUsage, naming the word, for one without
// a prefix or twice the same.
Result<std::vector<AccelPath>> parse_accel_path(std::string_view text);

}  // namespace migrate::accel
