// Private anonymous memory as a guest's RAM: reserved, not backed, and with huge pages or without.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::memory {

enum class HugePages { kOff, kOn };

// Aligned to a huge page. `what` is for the error.
Result<Mapping> map_anonymous(std::uint64_t size_bytes, HugePages huge, std::string_view what);
// Whether the host gives huge pages to memory that asks for them.
bool anonymous_huge_pages_allowed();
bool shared_huge_pages_allowed();
// Whether memory that will be written fits: told now, rather than by the kernel's OOM killer in the
// middle of it. `what` is for the error.
Status check_fits_available_memory(std::uint64_t bytes, std::string_view what);

}  // namespace migrate::memory
