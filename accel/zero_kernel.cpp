// SPDX-License-Identifier: Apache-2.0
#include "accel/zero_kernel.hpp"

#include <immintrin.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "base/config/choices.hpp"
#include "base/units.hpp"

namespace migrate::accel {
namespace {

constexpr std::size_t kCacheLine = 64;

// The kernels do not prefetch: the hardware's prefetchers keep up, and prefetching the next page,
// or some lines ahead, costs up to a quarter of the rate on resident zeros (measured on AMD Milan,
// 4 KiB and huge pages).

inline std::uint64_t load_word(const std::byte* from) {
    std::uint64_t word = 0;
    std::memcpy(&word, from, sizeof word);
    return word;
}

inline std::uint64_t or_of_line(const std::byte* line) {
    std::uint64_t all = 0;
    for (std::size_t i = 0; i < kCacheLine; i += sizeof all) all |= load_word(line + i);
    return all;
}

bool scalar_is_zero(const std::byte* page) {
    // The first group reads the head again: it is in the cache, and all groups have the same size.
    if (or_of_line(page) != 0) return false;
    constexpr std::size_t kGroup = 4 * kCacheLine;
    for (std::size_t at = 0; at < kPageSize; at += kGroup) {
        std::uint64_t all = 0;
        for (std::size_t i = 0; i < kGroup; i += kCacheLine) all |= or_of_line(page + at + i);
        if (all != 0) return false;
    }
    return true;
}

bool scalar_supported() { return true; }

// The cast through void* is the intended use of the intrinsics: __m256i may alias anything.
__attribute__((target("avx2"))) inline __m256i load_32(const std::byte* from) {
    return _mm256_load_si256(static_cast<const __m256i*>(static_cast<const void*>(from)));
}

__attribute__((target("avx2"))) inline __m256i or_of_line_avx2(const std::byte* line) {
    return _mm256_or_si256(load_32(line), load_32(line + 32));
}

__attribute__((target("avx2"))) bool avx2_is_zero(const std::byte* page) {
    const __m256i head = or_of_line_avx2(page);
    if (_mm256_testz_si256(head, head) == 0) return false;
    // The first group reads the head again: it is in the cache, and all groups have the same size.
    constexpr std::size_t kGroup = 4 * kCacheLine;
    for (std::size_t at = 0; at < kPageSize; at += kGroup) {
        const std::byte* group = page + at;
        const __m256i low = _mm256_or_si256(or_of_line_avx2(group), or_of_line_avx2(group + 64));
        const __m256i high =
            _mm256_or_si256(or_of_line_avx2(group + 128), or_of_line_avx2(group + 192));
        const __m256i all = _mm256_or_si256(low, high);
        if (_mm256_testz_si256(all, all) == 0) return false;
    }
    return true;
}

// __builtin_cpu_supports also checks (XGETBV) that the operating system saves the wide registers.
bool avx2_supported() { return __builtin_cpu_supports("avx2") != 0; }

__attribute__((target("avx512f"))) inline __m512i load_64(const std::byte* from) {
    return _mm512_load_si512(static_cast<const void*>(from));
}

__attribute__((target("avx512f"))) bool avx512_is_zero(const std::byte* page) {
    const __m512i head = load_64(page);
    if (_mm512_test_epi64_mask(head, head) != 0) return false;
    constexpr std::size_t kGroup = 8 * kCacheLine;
    for (std::size_t at = 0; at < kPageSize; at += kGroup) {
        const std::byte* group = page + at;
        const __m512i a = _mm512_or_si512(load_64(group), load_64(group + 64));
        const __m512i b = _mm512_or_si512(load_64(group + 128), load_64(group + 192));
        const __m512i c = _mm512_or_si512(load_64(group + 256), load_64(group + 320));
        const __m512i d = _mm512_or_si512(load_64(group + 384), load_64(group + 448));
        const __m512i all = _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d));
        if (_mm512_test_epi64_mask(all, all) != 0) return false;
    }
    return true;
}

bool avx512_supported() { return __builtin_cpu_supports("avx512f") != 0; }

constexpr std::array kKernels{
    ZeroKernel{name_of(ZeroKernelName::kAvx512), 2, avx512_supported, avx512_is_zero},
    ZeroKernel{name_of(ZeroKernelName::kAvx2), 1, avx2_supported, avx2_is_zero},
    ZeroKernel{name_of(ZeroKernelName::kScalar), 0, scalar_supported, scalar_is_zero},
};

std::string runnable_names() {
    std::string names = "auto";
    for (const ZeroKernel* kernel : runnable_zero_kernels()) {
        names += ", ";
        names += kernel->name;
    }
    return names;
}

}  // namespace

std::span<const ZeroKernel> all_zero_kernels() { return kKernels; }

std::vector<const ZeroKernel*> runnable_zero_kernels() {
    std::vector<const ZeroKernel*> runnable;
    for (const ZeroKernel& kernel : kKernels) {
        if (kernel.supported()) runnable.push_back(&kernel);
    }
    return runnable;
}

Result<const ZeroKernel*> find_zero_kernel(std::string_view name) {
    const bool any = name == name_of(ZeroKernelName::kAuto);
    for (const ZeroKernel& kernel : kKernels) {
        if (!any && name != kernel.name) continue;
        if (kernel.supported()) return &kernel;
        if (!any) {
            return make_error(ErrorKind::kUsage,
                              "this CPU cannot run the zero kernel '{}'; it can run: {}", name,
                              runnable_names());
        }
    }
    return make_error(ErrorKind::kUsage, "the zero kernel '{}' is unknown; this CPU can run: {}",
                      name, runnable_names());
}

}  // namespace migrate::accel
