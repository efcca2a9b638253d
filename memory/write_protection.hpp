// Write protection that the kernel lifts by itself at the first write to a page, and remembers
// (userfaultfd with UFFD_FEATURE_WP_ASYNC, Linux 6.7). Nobody serves faults, and no write waits for
// this process. Invariant: taking what was written and protecting it again is one step under the
// page table's lock: a write is in this take or in the next.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "memory/page_bitmap.hpp"
#include "memory/pagemap_scan.hpp"

namespace migrate::memory {

class WriteProtection {
  public:
    // The Error says what this host lacks, and what would change that.
    static Result<WriteProtection> create();

    // From here on `memory`, which is page-aligned, can be protected; private anonymous, shmem and
    // hugetlbfs mappings that may be written. kUsage for others.
    Status watch(std::span<const std::byte> memory);
    // Protects watched memory, pages that nobody ever touched included (a page table entry each: 8
    // bytes), so that reading them later does not look like a write.
    Status protect(std::span<const std::byte> memory);
    // Sets the bits of the pages of protected `memory` that were written since they were last
    // protected, or whose page table entry went away with their content, and protects them. Page 0
    // is the first of `memory`.
    Status take_written(std::span<const std::byte> memory, PageBitmap& written);
    // Writes are plain again.
    void release(std::span<const std::byte> memory) const;

  private:
    WriteProtection(UniqueFd faults, UniqueFd pagemap)
        : faults_(std::move(faults)), pagemap_(std::move(pagemap)) {}

    // Whether the scan for written pages reports memory without a page table too.
    Result<bool> scan_finds_holes();
    // Calls found(run) for the runs that a scan reports.
    template <typename Found>
    Status scan_all(PagemapScanArgument argument, Found found);
    // Protects what the page tables know nothing of; sets its bits in `holes`, if not null.
    Status protect_holes(std::span<const std::byte> memory, PageBitmap* holes);

    UniqueFd faults_;
    UniqueFd pagemap_;
    // Whether take_written() must look for what lost its page table by a second scan.
    bool look_for_holes_ = true;
    std::vector<PagemapRegion> found_;  // scan_all()'s, kept
};

}  // namespace migrate::memory
