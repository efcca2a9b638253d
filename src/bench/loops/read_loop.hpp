// SPDX-License-Identifier: Apache-2.0
// The simplest loop that reads resident memory: it uses the widest loads that this CPU has, and no
// branch depends on the data. A search for zero pages is compared with it.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.hpp"
#include "bench/loops/loop_memory.hpp"

namespace migrate::bench {

struct ReadFigures {
    double seconds = 0;
    std::string_view loads;  // "avx512", "avx2" or "scalar"
};

// Writes zeros to `bytes` of private memory, then times `threads` threads that read their share
// once.
Result<ReadFigures> run_read_loop(unsigned threads, std::uint64_t bytes, PageSizing sizing);

}  // namespace migrate::bench
