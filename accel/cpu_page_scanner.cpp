// SPDX-License-Identifier: Apache-2.0
#include "accel/cpu_page_scanner.hpp"

#include <cstdlib>

#include "base/units.hpp"

namespace migrate::accel {
namespace {

constexpr std::uint64_t kBitsPerWord = 64;

}  // namespace

void CpuPageScanner::submit(std::span<const PageExtent> batch) {
    if (waiting_ == kDepth) std::abort();
    batches_[(oldest_ + waiting_) % kDepth].assign(batch.begin(), batch.end());
    ++waiting_;
}

Status CpuPageScanner::collect(std::span<std::uint64_t> zero_map) {
    if (waiting_ == 0) std::abort();
    const std::vector<PageExtent>& batch = batches_[oldest_];
    oldest_ = (oldest_ + 1) % kDepth;
    --waiting_;

    std::uint64_t page = 0;
    std::uint64_t word = 0;
    const auto flush = [&] {
        const std::uint64_t index = (page - 1) / kBitsPerWord;
        if (index >= zero_map.size()) std::abort();
        zero_map[index] = word;
        word = 0;
    };
    for (const PageExtent& extent : batch) {
        for (std::uint32_t i = 0; i < extent.pages; ++i) {
            const bool zero = kernel_.is_zero(extent.data + i * kPageSize);
            word |= std::uint64_t{zero} << (page % kBitsPerWord);
            if (++page % kBitsPerWord == 0) flush();
        }
    }
    if (page % kBitsPerWord != 0) flush();
    return {};
}

}  // namespace migrate::accel
