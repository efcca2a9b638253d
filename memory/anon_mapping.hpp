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

}  // namespace migrate::memory
