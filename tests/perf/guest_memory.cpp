#include "perf/guest_memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <thread>
#include <vector>

#include "base/units.hpp"

namespace migrate::perf {
namespace {

// Calls fill(part, seed) on a thread for each CPU's share of the memory.
template <typename Fill>
void fill_in_parallel(const Mapping& memory, Fill fill) {
    const std::uint64_t threads = std::max(1U, std::thread::hardware_concurrency());
    const std::uint64_t pages = memory.size() / kPageSize;
    std::vector<std::jthread> workers;
    for (std::uint64_t i = 0; i < threads; ++i) {
        const std::uint64_t first = pages * i / threads * kPageSize;
        const std::uint64_t end = pages * (i + 1) / threads * kPageSize;
        workers.emplace_back(fill, memory.bytes().subspan(first, end - first), i + 1);
    }
}

}  // namespace

Result<Mapping> private_memory(std::uint64_t bytes, PageSizing sizing) {
    MIGRATE_ASSIGN(Mapping memory,
                   Mapping::create({.size = bytes,
                                    .protection = PROT_READ | PROT_WRITE,
                                    .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                                    .alignment = kHugePageSize,
                                    .what = "private memory"}));
    // A kernel built without huge pages refuses both, and then has nothing but small ones.
    (void)::madvise(memory.data(), bytes,
                    sizing == PageSizing::kHuge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    return memory;
}

void fill_random(const Mapping& memory) {
    fill_in_parallel(memory, [](std::span<std::byte> part, std::uint64_t seed) {
        std::uint64_t state = seed * 0x9E3779B97F4A7C15ULL;
        for (std::size_t at = 0; at < part.size(); at += sizeof state) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            std::memcpy(part.data() + at, &state, sizeof state);
        }
    });
}

void fill_zero(const Mapping& memory) {
    fill_in_parallel(memory, [](std::span<std::byte> part, std::uint64_t) {
        std::memset(part.data(), 0, part.size());
    });
}

Status warm(std::uint64_t bytes) {
    // By huge pages: it is quicker, and those blocks are what is split when small pages are wanted.
    MIGRATE_ASSIGN(const Mapping memory, private_memory(bytes, PageSizing::kHuge));
    if (::madvise(memory.data(), bytes, MADV_POPULATE_WRITE) != 0)
        return Error::system("warm memory", errno);
    return {};
}

}  // namespace migrate::perf
