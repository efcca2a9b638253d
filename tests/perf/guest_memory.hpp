// Memory for the plain loops: filled as a guest's would be, and warmed.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::perf {

enum class PageSizing { kHuge, kSmall };

// Private memory, untouched, aligned for huge pages; small: 4 KiB pages whatever the system's
// setting.
Result<Mapping> private_memory(std::uint64_t bytes, PageSizing sizing);

// Writes every page: pseudo-random words, or zeros.
void fill_random(const Mapping& memory);
void fill_zero(const Mapping& memory);

// Touches and frees this much memory, so that what runs next finds free pages that the host already
// backs. On virtual machines whose host takes free memory back, memory that was not warmed is
// populated several times slower, which drowns whatever else is being timed.
Status warm(std::uint64_t bytes);

}  // namespace migrate::perf
