// SPDX-License-Identifier: Apache-2.0
// Write protection that the kernel lifts by itself at the first write to a page, and records
// (userfaultfd with UFFD_FEATURE_WP_ASYNC, Linux 6.7). No thread serves faults, and no write waits
// for this process. Invariant: reading the written pages and protecting them again is one step
// under the page table's lock, so each write is in this take or in the next.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/pagemap_scan.hpp"
#include "memory/page_bitmap.hpp"

namespace migrate::memory {

// A page-aligned address range in the process whose memory is protected.
struct AddressRange {
    AddressRange(std::uint64_t start_address, std::uint64_t size_bytes)
        : start(start_address), size(size_bytes) {}
    // Implicit on purpose: memory of this process converts to its own addresses.
    AddressRange(std::span<const std::byte> memory)
        : start(reinterpret_cast<std::uintptr_t>(memory.data())), size(memory.size()) {}
    AddressRange(std::span<std::byte> memory) : AddressRange(std::span<const std::byte>(memory)) {}

    std::uint64_t start;
    std::uint64_t size;  // bytes
};

class WriteProtection {
  public:
    // Protects memory of this process. The Error says what this host lacks and what would change
    // that.
    static Result<WriteProtection> create();
    // Protects memory of another process, from which `faults` comes (foreign_userfaultfd.hpp).
    static Result<WriteProtection> create_for(pid_t pid, UniqueFd faults);

    // How huge pages of the host's pool that nobody touched are tracked. A mark on one looks like a
    // page that the kernel is moving (ProcessPopulation::query_hugetlb()).
    enum class HugeHoles {
        kMarked,
        // They stay untouched, and reading one later looks like a write. A page that was given back
        // looks written until it is read.
        kNoted,
    };
    // Prepares `memory` to be protected; it must be page-aligned and a writable private anonymous,
    // shmem or hugetlbfs mapping. kUsage for others.
    Status watch(AddressRange memory, HugeHoles huge_holes = HugeHoles::kMarked);
    // Protects watched memory, including pages that were never touched (with a page table entry
    // each: 8 bytes), so that reading them later does not look like a write; but for HugeHoles.
    Status protect(AddressRange memory);
    // Sets the bits of the pages of protected `memory` that were written since they were last
    // protected, or whose page table entry was dropped with their content, and protects them. Bit
    // number `first_page` is the first page of `memory`.
    Status take_written(AddressRange memory, PageBitmap& written, std::uint64_t first_page = 0);
    // Sets the bits of pages that take_written() would report now, and changes nothing. Not all are
    // found in memory of the host's pool of huge pages. Any thread, but not during take_written().
    Status find_written(AddressRange memory, PageBitmap& written, std::uint64_t first_page) const;
    // Ends the protection: writes are plain again.
    void release(AddressRange memory) const;

  private:
    WriteProtection(UniqueFd faults, UniqueFd pagemap)
        : faults_(std::move(faults)), pagemap_(std::move(pagemap)) {}

    static Result<WriteProtection> create_with(UniqueFd faults, const std::string& pagemap);
    // Returns true if the scan for written pages also reports memory without a page table.
    Result<bool> scan_finds_holes();
    // Calls found(run) for the runs that a scan reports.
    template <typename Found>
    Status scan_all(PagemapScanArgument argument, Found found);
    // Protects pages without a page table entry; sets their bits in `holes`, if not null.
    Status protect_holes(AddressRange memory, PageBitmap* holes, std::uint64_t first_page);
    // Notes the pages without a page table entry. Sets the bits of those that had one before in
    // `written`, if not null.
    Status note_holes(AddressRange memory, PageBitmap* written, std::uint64_t first_page);
    // Sets the bits of pages that may have been given back: reading one settles it.
    Status take_doubtful(AddressRange memory, PageBitmap& written, std::uint64_t first_page);
    // Watched memory with HugeHoles::kNoted.
    struct Noted {
        AddressRange memory;
        PageBitmap holes;  // pages without a page table entry at the last look
    };
    // `memory` is watched memory or a part of it; null if its holes are not noted.
    Noted* find_noted(AddressRange memory);

    UniqueFd faults_;
    UniqueFd pagemap_;
    std::vector<Noted> noted_;
    // True if take_written() needs a second scan for pages that lost their page table.
    bool look_for_holes_ = true;
    std::vector<PagemapRegion> found_;  // buffer of scan_all(), kept for reuse
};

}  // namespace migrate::memory
