// The Error of what the user got wrong.
#pragma once

#include <utility>

#include "base/error.hpp"

namespace migrate::cli {

template <typename... Args>
Error usage_error(fmt::format_string<Args...> format, Args&&... args) {
    return make_error(ErrorKind::kUsage, format, std::forward<Args>(args)...);
}

}  // namespace migrate::cli
