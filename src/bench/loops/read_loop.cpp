// SPDX-License-Identifier: Apache-2.0
#include "bench/loops/read_loop.hpp"

#include <immintrin.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <span>

#include "base/units.hpp"
#include "bench/host.hpp"
#include "bench/loops/loop_threads.hpp"

namespace migrate::bench {
namespace {

constexpr std::size_t kStep = 256;  // bytes a turn; divides the page size

std::uint64_t read_scalar(std::span<const std::byte> memory) {
    std::uint64_t all = 0;
    for (std::size_t at = 0; at < memory.size(); at += sizeof all) {
        std::uint64_t word = 0;
        std::memcpy(&word, memory.data() + at, sizeof word);
        all |= word;
    }
    return all;
}

__attribute__((target("avx2"))) inline __m256i load_avx2(const std::byte* from) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(static_cast<const void*>(from)));
}

__attribute__((target("avx2"))) std::uint64_t read_avx2(std::span<const std::byte> memory) {
    __m256i a = _mm256_setzero_si256();
    __m256i b = a;
    for (std::size_t at = 0; at < memory.size(); at += kStep) {
        const std::byte* from = memory.data() + at;
        for (std::size_t i = 0; i < kStep; i += 64) {
            a = _mm256_or_si256(a, load_avx2(from + i));
            b = _mm256_or_si256(b, load_avx2(from + i + 32));
        }
    }
    const __m256i both = _mm256_or_si256(a, b);
    return _mm256_testz_si256(both, both) == 0 ? 1 : 0;
}

__attribute__((target("avx512f"))) std::uint64_t read_avx512(std::span<const std::byte> memory) {
    __m512i a = _mm512_setzero_si512();
    __m512i b = a;
    for (std::size_t at = 0; at < memory.size(); at += kStep) {
        const std::byte* from = memory.data() + at;
        for (std::size_t i = 0; i < kStep; i += 128) {
            a = _mm512_or_si512(a, _mm512_loadu_si512(from + i));
            b = _mm512_or_si512(b, _mm512_loadu_si512(from + i + 64));
        }
    }
    const __m512i both = _mm512_or_si512(a, b);
    return _mm512_test_epi64_mask(both, both);
}

struct Loop {
    std::string_view loads;
    std::uint64_t (*read)(std::span<const std::byte>);
};

Loop widest_loop() {
    if (__builtin_cpu_supports("avx512f") != 0) return {"avx512", read_avx512};
    if (__builtin_cpu_supports("avx2") != 0) return {"avx2", read_avx2};
    return {"scalar", read_scalar};
}

}  // namespace

Result<ReadFigures> run_read_loop(unsigned threads, std::uint64_t bytes, PageSizing sizing) {
    MIGRATE_TRY(warm_memory(bytes));
    MIGRATE_ASSIGN(const Mapping memory, private_memory(bytes, sizing));
    MIGRATE_TRY(fill_zero(memory));
    const Loop loop = widest_loop();
    const std::uint64_t pages = bytes / kPageSize;
    std::atomic<std::uint64_t> seen{0};  // keeps the loads alive

    const auto start = std::chrono::steady_clock::now();
    MIGRATE_TRY(run_on_threads(threads, [&](unsigned i) {
        const std::uint64_t first = pages * i / threads * kPageSize;
        const std::uint64_t end = pages * (i + 1) / threads * kPageSize;
        seen.fetch_or(loop.read(memory.bytes().subspan(first, end - first)));
    }));
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (seen.load() != 0) return make_error("zeros were written, but something else was read");
    return ReadFigures{.seconds = seconds, .loads = loop.loads};
}

}  // namespace migrate::bench
