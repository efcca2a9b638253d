// Opens what must be a regular file. Nothing else is ever opened: to open some devices does
// something already, and a FIFO's other end would see it.
#pragma once

#include <string>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate {

// `flags` as in open(2), without O_CREAT and O_TRUNC; O_CLOEXEC is added. Links are followed.
// kUsage says what else the path leads to, or why it cannot be opened.
Result<UniqueFd> open_regular_file(const std::string& path, int flags);

}  // namespace migrate
