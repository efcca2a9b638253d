// SPDX-License-Identifier: Apache-2.0
#include "accel/dsa/first_look.hpp"

#include <algorithm>

#include "base/units.hpp"
#include "base/zero_line.hpp"

namespace migrate::accel::dsa {

namespace {

// Number of pages between the one that is read and the one that is fetched: the CPU's prefetcher
// does not cross pages.
constexpr std::uint32_t kAhead = 8;

}  // namespace

bool FirstLook::is_due() { return rate_ >= kWorthwhile || batches_++ % kInterval == 0; }

void FirstLook::look(std::span<const PageExtent> batch) {
    std::ranges::fill(not_zero_, 0);
    std::uint32_t page = 0;
    std::uint32_t recognized = 0;
    for (const PageExtent& extent : batch) {
        for (std::uint32_t i = 0; i < extent.pages; ++i, ++page) {
            if (i + kAhead < extent.pages)
                __builtin_prefetch(extent.data + (i + kAhead) * kPageSize);
            if (is_zero_line(extent.data + i * kPageSize)) continue;
            not_zero_[page / 64] |= std::uint64_t{1} << (page % 64);
            ++recognized;
        }
    }
    // A mean that forgets: an eighth is new.
    if (page != 0) rate_ += (static_cast<double>(recognized) / page - rate_) / 8;
}

}  // namespace migrate::accel::dsa
