// The plainest loop that reads resident memory: the widest loads this CPU has, no branch on what
// they bring.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.hpp"
#include "perf/guest_memory.hpp"

namespace migrate::perf {

struct ReadFigures {
    double seconds = 0;
    std::string_view loads;  // "avx512", "avx2" or "scalar"
};

// Writes zeros to `bytes` of private memory, then times `threads` threads that read their share
// once.
Result<ReadFigures> run_read_loop(unsigned threads, std::uint64_t bytes, PageSizing sizing);

}  // namespace migrate::perf
