// SPDX-License-Identifier: Apache-2.0
// Opens files that must be regular. Checks the kind of a file before it opens it: opening some
// devices has effects, and a FIFO's other end would notice it.
#pragma once

#include <string>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate {

// `flags` as in open(2), without O_CREAT and O_TRUNC; O_CLOEXEC is added. Links are followed.
// kUsage says what the path leads to instead, or why it cannot be opened.
Result<UniqueFd> open_regular_file(const std::string& path, int flags);

}  // namespace migrate
