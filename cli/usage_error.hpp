// SPDX-License-Identifier: Apache-2.0
// Makes the Error for a mistake of the user.
#pragma once

#include <utility>

#include "base/error.hpp"

namespace migrate::cli {

template <typename... Args>
Error usage_error(fmt::format_string<Args...> format, Args&&... args) {
    return make_error(ErrorKind::kUsage, format, std::forward<Args>(args)...);
}

}  // namespace migrate::cli
