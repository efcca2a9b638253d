// SPDX-License-Identifier: Apache-2.0
// Memory to look at and to write to: private, zero, and not yet there unless asked for.
#pragma once

#include <sys/mman.h>

#include "base/fd.hpp"
#include "base/units.hpp"
#include "tests/support/must.hpp"

namespace migrate::accel {

// `more_flags` of mmap: MAP_POPULATE for pages that are there.
inline Mapping map_pages(std::uint64_t pages, int more_flags = 0) {
    return must(Mapping::create({.size = pages * kPageSize,
                                 .protection = PROT_READ | PROT_WRITE,
                                 .flags = MAP_PRIVATE | MAP_ANONYMOUS | more_flags,
                                 .what = "pages"}));
}

}  // namespace migrate::accel
