// The PAGEMAP_SCAN ioctl of /proc/PID/pagemap (Linux 6.7, include/uapi/linux/fs.h), which Debian
// 12's headers lack. The names differ from the kernel's so that newer headers do not collide.
#pragma once

#include <linux/ioctl.h>

#include <cstdint>

namespace migrate::memory {

// struct page_region
struct PagemapRegion {
    std::uint64_t start = 0;  // addresses
    std::uint64_t end = 0;
    std::uint64_t categories = 0;
};

// struct pm_scan_arg
struct PagemapScanArgument {
    std::uint64_t size = 0;  // of this struct
    std::uint64_t flags = 0;
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    std::uint64_t walk_end = 0;  // out: where the walk stopped, `end` if it went all the way
    std::uint64_t vec = 0;       // address of an array of PagemapRegion
    std::uint64_t vec_len = 0;
    std::uint64_t max_pages = 0;  // 0: no limit
    std::uint64_t category_inverted = 0;
    std::uint64_t category_mask = 0;        // a page is reported if all of these hold …
    std::uint64_t category_anyof_mask = 0;  // … and one of these
    std::uint64_t return_mask = 0;
};

// Not write-protected by userfaultfd. Present or swapped pages; where it is all that is asked for,
// also those that a page table has no entry for.
inline constexpr std::uint64_t kPageIsWritten = std::uint64_t{1} << 1;
inline constexpr std::uint64_t kPageIsPresent = std::uint64_t{1} << 3;
inline constexpr std::uint64_t kPageIsSwapped = std::uint64_t{1} << 4;
inline constexpr std::uint64_t kPageIsZeroPage = std::uint64_t{1} << 5;  // PAGE_IS_PFNZERO

// PM_SCAN_WP_MATCHING: write-protects what it reports, in the same step.
inline constexpr std::uint64_t kScanAndProtect = std::uint64_t{1} << 0;
// PM_SCAN_CHECK_WPASYNC: EPERM for memory that is not registered for it, instead of leaving it out.
inline constexpr std::uint64_t kScanOnlyRegistered = std::uint64_t{1} << 1;

inline constexpr unsigned long kPagemapScan = _IOWR('f', 16, PagemapScanArgument);

static_assert(sizeof(PagemapRegion) == 24);
static_assert(sizeof(PagemapScanArgument) == 96);
static_assert(kPagemapScan == 0xC0606610UL);

}  // namespace migrate::memory
