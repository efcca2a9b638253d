// SPDX-License-Identifier: Apache-2.0
// Private anonymous memory as a guest's RAM: reserved but not backed, with or without huge pages.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::memory {

enum class HugePages { kOff, kOn };

// Returns memory that is aligned to a huge page. `what` is for the error.
Result<Mapping> map_anonymous(std::uint64_t size_bytes, HugePages huge, std::string_view what);
// True if the host gives huge pages to memory that requests them.
bool anonymous_huge_pages_allowed();
bool shared_huge_pages_allowed();
// Checks that memory that will be written fits, so that lack of memory is an Error now and not an
// OOM kill later. `what` is for the error.
Status check_fits_available_memory(std::uint64_t bytes, std::string_view what);

}  // namespace migrate::memory
