// SPDX-License-Identifier: Apache-2.0
// Memory for the bare loops, filled like a guest's.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::bench {

enum class PageSizing { kHuge, kSmall };

// Untouched private memory, aligned for huge pages. kSmall gives 4 KiB pages whatever the system's
// setting is.
Result<Mapping> private_memory(std::uint64_t bytes, PageSizing sizing);

// Write every page, with pseudo-random words or with zeros.
Status fill_random(const Mapping& memory);
Status fill_zero(const Mapping& memory);

}  // namespace migrate::bench
