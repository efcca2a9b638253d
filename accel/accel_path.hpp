// SPDX-License-Identifier: Apache-2.0
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
    std::string text;  // after the colon
};

// Reads texts in kAccelForms (base/config/form_tables.hpp) with blanks between them; an empty text
// gives none. kUsage names a text that is wrong or occurs twice.
Result<std::vector<AccelPath>> parse_accel_path(std::string_view text);

}  // namespace migrate::accel
