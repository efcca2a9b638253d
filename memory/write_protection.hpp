// Write protection that the kernel lifts by itself at the first write to a page, and remembers
// (userfaultfd with UFFD_FEATURE_WP_ASYNC, Linux 6.7). Nobody serves faults, and no write waits for
// this process. Invariant: taking what was written and protecting it again is one step under the
// page table's lock: a write is in this take or in the next.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "memory/page_bitmap.hpp"
#include "memory/pagemap_scan.hpp"

namespace migrate::memory {

// Addresses of the process whose memory is protected, page-aligned.
struct AddressRange {
    AddressRange(std::uint64_t start_address, std::uint64_t size_bytes)
        : start(start_address), size(size_bytes) {}
    // Implicit on purpose: memory of this process is where it is.
    AddressRange(std::span<const std::byte> memory)
        : start(reinterpret_cast<std::uintptr_t>(memory.data())), size(memory.size()) {}
    AddressRange(std::span<std::byte> memory) : AddressRange(std::span<const std::byte>(memory)) {}

    std::uint64_t start;
    std::uint64_t size;  // bytes
};

class WriteProtection {
  public:
    // Of this process. The Error says what this host lacks, and what would change that.
    static Result<WriteProtection> create();
    // Of another process, which gave `faults` (foreign_userfaultfd.hpp).
    static Result<WriteProtection> create_for(pid_t pid, UniqueFd faults);

    // From here on `memory`, which is page-aligned, can be protected; private anonymous, shmem and
    // hugetlbfs mappings that may be written. kUsage for others.
    Status watch(AddressRange memory);
    // Protects watched memory, pages that nobody ever touched included (a page table entry each: 8
    // bytes), so that reading them later does not look like a write.
    Status protect(AddressRange memory);
    // Sets the bits of the pages of protected `memory` that were written since they were last
    // protected, or whose page table entry went away with their content, and protects them. The
    // bit of the first page of `memory` is number `first_page`.
    Status take_written(AddressRange memory, PageBitmap& written, std::uint64_t first_page = 0);
    // Writes are plain again.
    void release(AddressRange memory) const;

  private:
    WriteProtection(UniqueFd faults, UniqueFd pagemap)
        : faults_(std::move(faults)), pagemap_(std::move(pagemap)) {}

    static Result<WriteProtection> create_with(UniqueFd faults, const std::string& pagemap);
    // Whether the scan for written pages reports memory without a page table too.
    Result<bool> scan_finds_holes();
    // Calls found(run) for the runs that a scan reports.
    template <typename Found>
    Status scan_all(PagemapScanArgument argument, Found found);
    // Protects what the page tables know nothing of; sets its bits in `holes`, if not null.
    Status protect_holes(AddressRange memory, PageBitmap* holes, std::uint64_t first_page);

    UniqueFd faults_;
    UniqueFd pagemap_;
    // Whether take_written() must look for what lost its page table by a second scan.
    bool look_for_holes_ = true;
    std::vector<PagemapRegion> found_;  // scan_all()'s, kept
};

}  // namespace migrate::memory
