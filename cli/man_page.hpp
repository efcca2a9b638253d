// SPDX-License-Identifier: Apache-2.0
// The man page, generated from the option table so that it cannot go stale.
#pragma once

#include <string>

namespace migrate::cli {

// migrate(1) as troff source in ASCII, for the man macros.
std::string man_page();

}  // namespace migrate::cli
