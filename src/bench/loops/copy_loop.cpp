// SPDX-License-Identifier: Apache-2.0
#include "bench/loops/copy_loop.hpp"

#include <chrono>
#include <cstring>

#include "base/units.hpp"
#include "bench/host.hpp"
#include "bench/loops/loop_threads.hpp"

namespace migrate::bench {

Result<CopyFigures> run_copy_loop(unsigned threads, std::uint64_t bytes, PageSizing sizing) {
    MIGRATE_ASSIGN(const Mapping source, private_memory(bytes, PageSizing::kHuge));
    MIGRATE_TRY(fill_random(source));
    MIGRATE_TRY(warm_memory(bytes));
    MIGRATE_ASSIGN(const Mapping target, private_memory(bytes, sizing));
    const std::uint64_t pages = bytes / kPageSize;
    const auto start = std::chrono::steady_clock::now();
    MIGRATE_TRY(run_on_threads(threads, [&](unsigned i) {
        const std::uint64_t first = pages * i / threads * kPageSize;
        const std::uint64_t end = pages * (i + 1) / threads * kPageSize;
        std::memcpy(target.data() + first, source.data() + first, end - first);
    }));
    return CopyFigures{
        .seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
}

}  // namespace migrate::bench
