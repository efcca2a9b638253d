// SPDX-License-Identifier: Apache-2.0
// The simplest loop that copies memory: memcpy() into fresh memory, a share for each thread. No
// transfer into fresh memory can be faster on this machine.
#pragma once

#include <cstdint>

#include "base/error.hpp"
#include "bench/loops/loop_memory.hpp"

namespace migrate::bench {

struct CopyFigures {
    double seconds = 0;
};

// Copies `bytes` of random data, in whole pages, to untouched private memory of that page size.
// Memory is warmed before the clock starts.
Result<CopyFigures> run_copy_loop(unsigned threads, std::uint64_t bytes, PageSizing sizing);

}  // namespace migrate::bench
