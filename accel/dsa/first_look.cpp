#include "accel/dsa/first_look.hpp"

#include <algorithm>
#include <cstring>

#include "base/units.hpp"

namespace migrate::accel::dsa {

namespace {

constexpr std::size_t kLineBytes = 64;
// Number of pages between the one that is read and the one that is fetched: the CPU's prefetcher
// does not cross pages.
constexpr std::uint32_t kAhead = 8;

bool is_zero_line(const std::byte* line) {
    std::uint64_t bits = 0;
    for (std::size_t at = 0; at < kLineBytes; at += sizeof bits) {
        std::uint64_t word = 0;
        std::memcpy(&word, line + at, sizeof word);
        bits |= word;
    }
    return bits == 0;
}

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
