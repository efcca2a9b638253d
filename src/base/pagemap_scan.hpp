// SPDX-License-Identifier: Apache-2.0
// The PAGEMAP_SCAN ioctl of /proc/PID/pagemap (Linux 6.7, include/uapi/linux/fs.h), which Debian
// 12's headers lack. The names differ from the kernel's so that newer headers do not collide.
#pragma once

#include <linux/ioctl.h>

#include <cstdint>
#include <span>

namespace migrate {

// Corresponds to struct page_region.
struct PagemapRegion {
    std::uint64_t start = 0;  // addresses
    std::uint64_t end = 0;
    std::uint64_t categories = 0;
};

// Corresponds to struct pm_scan_arg.
struct PagemapScanArgument {
    std::uint64_t size = 0;  // size of this struct
    std::uint64_t flags = 0;
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    std::uint64_t walk_end = 0;  // out: address where the walk stopped; `end` if it is complete
    std::uint64_t vec = 0;       // address of an array of PagemapRegion
    std::uint64_t vec_len = 0;
    std::uint64_t max_pages = 0;  // 0: no limit
    std::uint64_t category_inverted = 0;
    std::uint64_t category_mask = 0;        // a page is reported if it has all of these …
    std::uint64_t category_anyof_mask = 0;  // … and any of these
    std::uint64_t return_mask = 0;
};

// Set for pages that userfaultfd does not write-protect. It covers present or swapped pages; if it
// is the only category requested, also pages without a page table entry.
inline constexpr std::uint64_t kPageIsWritten = std::uint64_t{1} << 1;
inline constexpr std::uint64_t kPageIsPresent = std::uint64_t{1} << 3;
inline constexpr std::uint64_t kPageIsSwapped = std::uint64_t{1} << 4;
inline constexpr std::uint64_t kPageIsZeroPage = std::uint64_t{1} << 5;  // PAGE_IS_PFNZERO

// PM_SCAN_WP_MATCHING: write-protects the reported pages in the same step.
inline constexpr std::uint64_t kScanAndProtect = std::uint64_t{1} << 0;
// PM_SCAN_CHECK_WPASYNC: EPERM for memory that is not registered for it; without it such memory is
// skipped.
inline constexpr std::uint64_t kScanOnlyRegistered = std::uint64_t{1} << 1;

inline constexpr unsigned long kPagemapScan = _IOWR('f', 16, PagemapScanArgument);

static_assert(sizeof(PagemapRegion) == 24);
static_assert(sizeof(PagemapScanArgument) == 96);
static_assert(kPagemapScan == 0xC0606610UL);

// A scan of [start, end) that puts what it finds into `found` and selects nothing yet. A full
// `found` ends the walk early, at walk_end.
inline PagemapScanArgument pagemap_scan_of(std::uint64_t start, std::uint64_t end,
                                           std::span<PagemapRegion> found) {
    PagemapScanArgument argument;
    argument.size = sizeof argument;
    argument.start = start;
    argument.end = end;
    argument.vec = reinterpret_cast<std::uintptr_t>(found.data());
    argument.vec_len = found.size();
    return argument;
}

// Selects pages without a page table entry. A tracker's mark, a page on swap and one that the
// kernel is moving have such an entry.
inline void select_untouched(PagemapScanArgument& argument) {
    argument.category_inverted = kPageIsPresent | kPageIsSwapped;
    argument.category_mask = kPageIsPresent | kPageIsSwapped;
    argument.return_mask = kPageIsPresent | kPageIsSwapped;
}

}  // namespace migrate
