// SPDX-License-Identifier: Apache-2.0
#include "memory/dirty/write_protection.hpp"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "memory/userfaultfd.hpp"

namespace migrate::memory {
namespace {

// include/uapi/linux/userfaultfd.h of Linux 6.7; Debian 12's header lacks them.
constexpr std::uint64_t kFeatureWpUnpopulated = std::uint64_t{1} << 13;
constexpr std::uint64_t kFeatureWpAsync = std::uint64_t{1} << 15;

// Runs that one call can report; 1 % of a GiB's pages, scattered, are 2621 runs.
constexpr std::size_t kRunsPerCall = 4096;
// The same for find_written(), on the stack: the most runs that 2 MiB can have.
constexpr std::size_t kRunsPerPeek = 256;

uffdio_range range_of(AddressRange memory) { return {.start = memory.start, .len = memory.size}; }

Status enable(const UniqueFd& faults) {
    const int code = enable_userfaultfd(faults, kFeatureWpAsync | kFeatureWpUnpopulated |
                                                    UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
                                                    UFFD_FEATURE_PAGEFAULT_FLAG_WP);
    if (code == 0) return {};
    if (code != EINVAL) return Error::system("use userfaultfd", code);
    return make_error(
        "this kernel has no asynchronous write protection (UFFD_FEATURE_WP_ASYNC); it needs Linux "
        "6.7 with CONFIG_PTE_MARKER_UFFD_WP");
}

PagemapScanArgument scan_of(AddressRange memory, std::uint64_t flags) {
    PagemapScanArgument argument = pagemap_scan_of(memory.start, memory.start + memory.size, {});
    argument.flags = flags | kScanOnlyRegistered;
    return argument;
}

PagemapScanArgument scan_for_written(AddressRange memory) {
    // Only this pair of masks selects the kernel's fast path, which examines nothing else of a page
    // and treats a cleared entry as written.
    PagemapScanArgument argument = scan_of(memory, kScanAndProtect);
    argument.category_mask = kPageIsWritten;
    argument.return_mask = kPageIsWritten;
    return argument;
}

PagemapScanArgument scan_for_holes(AddressRange memory) {
    PagemapScanArgument argument = scan_of(memory, 0);
    select_untouched(argument);
    return argument;
}

// The pages of a run, counted from `first_page`, which is at the start of `memory`.
PageRange pages_of(const PagemapRegion& run, AddressRange memory, std::uint64_t first_page) {
    return {first_page + (run.start - memory.start) / kPageSize, (run.end - run.start) / kPageSize};
}

// Returns the number of runs found, up to argument.walk_end.
Result<std::size_t> scan(const UniqueFd& pagemap, PagemapScanArgument& argument) {
    for (;;) {
        const int count = ::ioctl(pagemap.get(), kPagemapScan, &argument);
        // Protecting a part of a huge page of hugetlbfs does that, for example.
        if (count >= 0 && argument.walk_end <= argument.start) {
            return make_error("the scan of the page tables (PAGEMAP_SCAN) stands still at {:#x}",
                              argument.start);
        }
        if (count >= 0) return static_cast<std::size_t>(count);
        // EINTR comes before anything was protected, or with a signal that ends the process.
        if (errno == EINTR) continue;
        if (errno == EPERM) {
            return make_error("guest memory was mapped anew while its writes were tracked");
        }
        return Error::system("scan the page tables for writes (PAGEMAP_SCAN)", errno);
    }
}

Status write_protect(const UniqueFd& faults, AddressRange memory) {
    uffdio_writeprotect request{};
    request.range = range_of(memory);
    request.mode = UFFDIO_WRITEPROTECT_MODE_WP;
    while (::ioctl(faults.get(), UFFDIO_WRITEPROTECT, &request) != 0) {
        if (errno == EAGAIN || errno == EINTR) continue;
        return Error::system("write-protect memory (UFFDIO_WRITEPROTECT)", errno);
    }
    return {};
}

}  // namespace

Result<WriteProtection> WriteProtection::create() {
    MIGRATE_ASSIGN(UniqueFd faults, open_userfaultfd());
    MIGRATE_ASSIGN(WriteProtection protection,
                   create_with(std::move(faults), "/proc/self/pagemap"));
    MIGRATE_ASSIGN(const bool finds_holes, protection.scan_finds_holes());
    protection.look_for_holes_ = !finds_holes;
    return protection;
}

Result<WriteProtection> WriteProtection::create_for(pid_t pid, UniqueFd faults) {
    // Our own memory is used to find out how this kernel's scans behave.
    MIGRATE_ASSIGN(const WriteProtection own, create());
    MIGRATE_ASSIGN(WriteProtection protection,
                   create_with(std::move(faults), fmt::format("/proc/{}/pagemap", pid)));
    protection.look_for_holes_ = own.look_for_holes_;
    return protection;
}

Result<WriteProtection> WriteProtection::create_with(UniqueFd faults, const std::string& pagemap) {
    MIGRATE_TRY(enable(faults));
    UniqueFd file(::open(pagemap.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return Error::system("open " + pagemap, errno);
    return WriteProtection(std::move(faults), std::move(file));
}

Result<bool> WriteProtection::scan_finds_holes() {
    // This size always contains a whole page table's range, at any alignment.
    MIGRATE_ASSIGN(const Mapping scratch,
                   Mapping::create({.size = 2 * kHugePageSize,
                                    .protection = PROT_READ | PROT_WRITE,
                                    .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                                    .what = "memory to try userfaultfd on"}));
    MIGRATE_TRY(watch(scratch.bytes()));
    std::uint64_t found = 0;
    MIGRATE_TRY(scan_all(scan_for_written(scratch.bytes()), [&](const PagemapRegion& run) {
        found += run.end - run.start;
        return Status{};
    }));
    release(scratch.bytes());
    return found == scratch.size();
}

Status WriteProtection::watch(AddressRange memory, HugeHoles huge_holes) {
    uffdio_register request{};
    request.range = range_of(memory);
    request.mode = UFFDIO_REGISTER_MODE_WP;
    if (::ioctl(faults_.get(), UFFDIO_REGISTER, &request) == 0) {
        // Only hugetlbfs lacks this ioctl, and no kernel's scan reports its holes as written.
        const bool hugetlb = (request.ioctls & (std::uint64_t{1} << _UFFDIO_ZEROPAGE)) == 0;
        if (hugetlb && huge_holes == HugeHoles::kNoted) {
            MIGRATE_ASSIGN(PageBitmap holes, PageBitmap::create(memory.size / kPageSize));
            noted_.push_back({memory, std::move(holes)});
        } else {
            look_for_holes_ = look_for_holes_ || hugetlb;
        }
        return {};
    }
    const int code = errno;
    if (code == EBUSY) return make_error("another userfaultfd has the memory already");
    if (code != EINVAL && code != EPERM) {
        return Error::system("register memory with userfaultfd", code);
    }
    return make_error(ErrorKind::kUsage,
                      "this memory cannot be write-protected: it must be private anonymous, shmem "
                      "(a memfd) or hugetlbfs, and mapped for writing");
}

Status WriteProtection::protect(AddressRange memory) {
    // An empty mask matches everything; without a vector nothing is reported.
    PagemapScanArgument argument = scan_of(memory, kScanAndProtect);
    while (argument.start < argument.end) {
        MIGRATE_TRY(scan(pagemap_, argument));
        argument.start = argument.walk_end;
    }
    // The scan does not protect the holes of hugetlbfs (seen with Linux 6.18).
    return find_noted(memory) != nullptr ? note_holes(memory, nullptr, 0)
                                         : protect_holes(memory, nullptr, 0);
}

Status WriteProtection::take_written(AddressRange memory, PageBitmap& written,
                                     std::uint64_t first_page) {
    MIGRATE_TRY(scan_all(scan_for_written(memory), [&](const PagemapRegion& run) {
        written.set(pages_of(run, memory, first_page));
        return Status{};
    }));
    if (find_noted(memory) != nullptr) return note_holes(memory, &written, first_page);
    // protect() gave all other memory page table entries. If there is none now, a huge page was
    // given back, or an empty table was freed (CONFIG_PT_RECLAIM) together with its marks.
    return look_for_holes_ ? protect_holes(memory, &written, first_page) : Status{};
}

Status WriteProtection::find_written(AddressRange memory, PageBitmap& written,
                                     std::uint64_t first_page) const {
    std::array<PagemapRegion, kRunsPerPeek> found;
    PagemapScanArgument argument = scan_for_written(memory);
    argument.flags = kScanOnlyRegistered;
    argument.vec = reinterpret_cast<std::uintptr_t>(found.data());
    argument.vec_len = found.size();
    while (argument.start < argument.end) {
        MIGRATE_ASSIGN(const std::size_t count, scan(pagemap_, argument));
        for (const PagemapRegion& run : std::span(found).first(count)) {
            written.set(pages_of(run, memory, first_page));
        }
        argument.start = argument.walk_end;
    }
    return {};
}

WriteProtection::Noted* WriteProtection::find_noted(AddressRange memory) {
    const auto found = std::find_if(noted_.begin(), noted_.end(), [&](const Noted& candidate) {
        const std::uint64_t end = candidate.memory.start + candidate.memory.size;
        return candidate.memory.start <= memory.start && memory.start < end;
    });
    return found == noted_.end() ? nullptr : &*found;
}

Status WriteProtection::protect_holes(AddressRange memory, PageBitmap* holes,
                                      std::uint64_t first_page) {
    // A write between the two steps loses its mark, but the page is reported as a hole.
    return scan_all(scan_for_holes(memory), [&](const PagemapRegion& run) {
        if (holes != nullptr) holes->set(pages_of(run, memory, first_page));
        return write_protect(faults_, {run.start, run.end - run.start});
    });
}

// A page that is written between the scan for written pages and this one, or after both, is not
// protected: the next scan reports it.
Status WriteProtection::note_holes(AddressRange memory, PageBitmap* written,
                                   std::uint64_t first_page) {
    Noted& part = *find_noted(memory);
    const std::uint64_t base = (memory.start - part.memory.start) / kPageSize;
    std::uint64_t next = base;
    MIGRATE_TRY(scan_all(scan_for_holes(memory), [&](const PagemapRegion& run) {
        const std::uint64_t first = (run.start - part.memory.start) / kPageSize;
        const std::uint64_t end = (run.end - part.memory.start) / kPageSize;
        part.holes.clear({next, first - next});
        next = end;
        for (std::uint64_t page = part.holes.find(first, end, false); page < end;) {
            const std::uint64_t stop = part.holes.find(page, end, true);
            if (written != nullptr) written->set({first_page + page - base, stop - page});
            page = part.holes.find(stop, end, false);
        }
        part.holes.set({first, end - first});
        return Status{};
    }));
    const std::uint64_t end = base + memory.size / kPageSize;
    part.holes.clear({next, end - next});
    return written == nullptr ? Status() : take_doubtful(memory, *written, first_page);
}

// A protected page that was given back keeps a mark, and looks like one that the kernel is moving.
Status WriteProtection::take_doubtful(AddressRange memory, PageBitmap& written,
                                      std::uint64_t first_page) {
    PagemapScanArgument argument = scan_of(memory, 0);
    argument.category_mask = kPageIsSwapped;
    argument.return_mask = kPageIsSwapped;
    return scan_all(argument, [&](const PagemapRegion& run) {
        written.set(pages_of(run, memory, first_page));
        return Status{};
    });
}

template <typename Found>
Status WriteProtection::scan_all(PagemapScanArgument argument, Found found) {
    found_.resize(kRunsPerCall);
    argument.vec = reinterpret_cast<std::uintptr_t>(found_.data());
    argument.vec_len = found_.size();
    while (argument.start < argument.end) {
        MIGRATE_ASSIGN(const std::size_t count, scan(pagemap_, argument));
        for (const PagemapRegion& run : std::span(found_).first(count)) MIGRATE_TRY(found(run));
        // A full vector ends the walk early; nothing after walk_end was protected.
        argument.start = argument.walk_end;
    }
    return {};
}

void WriteProtection::release(AddressRange memory) const {
    uffdio_range range = range_of(memory);
    // This fails only for memory that no longer exists, whose protection is gone with it.
    static_cast<void>(::ioctl(faults_.get(), UFFDIO_UNREGISTER, &range));
}

}  // namespace migrate::memory
