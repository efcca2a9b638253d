// SPDX-License-Identifier: Apache-2.0
#include "bench/loops/loop_memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <thread>

#include "base/units.hpp"
#include "bench/loops/loop_threads.hpp"

namespace migrate::bench {
namespace {

// Calls fill(part, seed) on a thread for each CPU's share of the memory.
template <typename Fill>
Status fill_in_parallel(const Mapping& memory, Fill fill) {
    const unsigned threads = std::max(1U, std::thread::hardware_concurrency());
    const std::uint64_t pages = memory.size() / kPageSize;
    return run_on_threads(threads, [&](unsigned i) {
        const std::uint64_t first = pages * i / threads * kPageSize;
        const std::uint64_t end = pages * (i + 1) / threads * kPageSize;
        fill(memory.bytes().subspan(first, end - first), std::uint64_t{i} + 1);
    });
}

}  // namespace

Result<Mapping> private_memory(std::uint64_t bytes, PageSizing sizing) {
    MIGRATE_ASSIGN(Mapping memory,
                   Mapping::create({.size = bytes,
                                    .protection = PROT_READ | PROT_WRITE,
                                    .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                                    .alignment = kHugePageSize,
                                    .what = "private memory"}));
    // A kernel without huge pages refuses both, and has only small pages anyway.
    (void)::madvise(memory.data(), bytes,
                    sizing == PageSizing::kHuge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    return memory;
}

Status fill_random(const Mapping& memory) {
    return fill_in_parallel(memory, [](std::span<std::byte> part, std::uint64_t seed) {
        std::uint64_t state = seed * 0x9E3779B97F4A7C15ULL;
        for (std::size_t at = 0; at < part.size(); at += sizeof state) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            std::memcpy(part.data() + at, &state, sizeof state);
        }
    });
}

Status fill_zero(const Mapping& memory) {
    return fill_in_parallel(memory, [](std::span<std::byte> part, std::uint64_t) {
        std::memset(part.data(), 0, part.size());
    });
}

}  // namespace migrate::bench
