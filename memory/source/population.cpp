// SPDX-License-Identifier: Apache-2.0
#include "memory/source/population.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "base/pagemap_scan.hpp"

namespace migrate::memory {
namespace {

std::uint64_t address_of(std::span<const std::byte> memory) {
    return reinterpret_cast<std::uintptr_t>(memory.data());
}

PagemapScanArgument written_pages(std::uint64_t start, std::uint64_t end,
                                  std::span<PagemapRegion> found) {
    PagemapScanArgument argument = pagemap_scan_of(start, end, found);
    // Selects pages that are (present or swapped) and not the zero page. Only may_be_marker() uses
    // the returned categories.
    argument.category_inverted = kPageIsZeroPage;
    argument.category_mask = kPageIsZeroPage;
    argument.category_anyof_mask = kPageIsPresent | kPageIsSwapped;
    argument.return_mask = kPageIsSwapped | kPageIsWritten;
    return argument;
}

bool may_be_marker(const PagemapRegion& region) {
    return (region.categories & (kPageIsSwapped | kPageIsWritten)) == kPageIsSwapped;
}

// totalswap still counts swap that a swapoff is reading back.
bool host_has_no_swap() {
    struct sysinfo host {};
    return ::sysinfo(&host) == 0 && host.totalswap == 0;
}

// Tells the markers that userfaultfd write protection leaves on pages that nobody ever wrote from
// other entries that look like them: pages on swap, and pages that the kernel is moving. mincore()
// reports 0 for a marker and for a page on swap, 1 for a page that is being moved. So if the host
// has swap, all of them are called populated.
class MarkerFinder {
  public:
    // Appends [start, end) to `builder`, whose page 0 is at `base`. More such entries may follow up
    // to `last` >= `end`; they are looked up in the same step.
    void extend(PopulationBuilder& builder, std::uint64_t base, std::uint64_t start,
                std::uint64_t end, std::uint64_t last) {
        while (start < end) {
            if (!covers(start) && !look_up(start, last)) {
                return builder.extend_to((end - base) / kPageSize, true);
            }
            const std::uint64_t stop = std::min(end, end_);
            const auto from = resident_.begin() + (start - start_) / kPageSize;
            const auto to = resident_.begin() + (stop - start_) / kPageSize;
            const bool resident = (*from & 1) != 0;
            const auto other = std::find_if(
                from, to, [resident](unsigned char page) { return ((page & 1) != 0) != resident; });
            start += static_cast<std::uint64_t>(other - from) * kPageSize;
            builder.extend_to((start - base) / kPageSize, resident);
        }
    }
    // Discards the cached result of mincore().
    void forget() { start_ = end_ = 0; }

  private:
    bool covers(std::uint64_t at) const { return at >= start_ && at < end_; }

    // Returns false if a 0 of mincore() proves nothing.
    bool look_up(std::uint64_t start, std::uint64_t last) {
        forget();
        if (!no_swap_) no_swap_ = host_has_no_swap();
        if (!*no_swap_) return false;
        const std::uint64_t size =
            std::min<std::uint64_t>(last - start, resident_.size() * kPageSize);
        // NOLINTNEXTLINE(performance-no-int-to-ptr)
        if (::mincore(reinterpret_cast<void*>(start), size, resident_.data()) != 0) return false;
        // A page may have been swapped out to swap that was added meanwhile.
        no_swap_ = host_has_no_swap();
        if (!*no_swap_) return false;
        start_ = start;
        end_ = start + size;
        return true;
    }

    std::optional<bool> no_swap_;  // permanent once false
    std::uint64_t start_ = 0;      // address range that resident_ covers
    std::uint64_t end_ = 0;
    std::array<unsigned char, 4096> resident_;  // one mincore() result per page
};

// Returns true if every page of the file has memory of its own. Only tmpfs counts its blocks
// exactly: elsewhere they may lie beyond the end of the file, or hold the file system's own data.
bool has_every_page(int fd, std::uint64_t size_bytes) {
    constexpr std::uint64_t kBlock = 512;  // of st_blocks, on every file system
    struct statfs system {};
    struct stat status {};
    return ::fstatfs(fd, &system) == 0 && system.f_type == TMPFS_MAGIC &&
           ::fstat(fd, &status) == 0 && static_cast<std::uint64_t>(status.st_size) >= size_bytes &&
           static_cast<std::uint64_t>(status.st_blocks) * kBlock >=
               static_cast<std::uint64_t>(status.st_size);
}

Status check_not_truncated(int fd, std::uint64_t size_bytes) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) return Error::system("examine the file", errno);
    if (static_cast<std::uint64_t>(status.st_size) >= size_bytes) return {};
    return make_error("the file was truncated from {} to {} bytes while it was in use", size_bytes,
                      status.st_size);
}

}  // namespace

void PopulationBuilder::extend_to(std::uint64_t end, bool populated) {
    end = std::min(end, end_);
    if (end <= next_) return;
    if (extents_.size() > start_ && extents_.back().populated == populated) {
        extents_.back().pages.count += end - next_;
    } else {
        extents_.push_back({{next_, end - next_}, populated});
    }
    next_ = end;
}

Status FilePopulation::query(PageRange range, std::vector<PopulationExtent>& extents) const {
    PopulationBuilder builder(range, extents);
    const MutexLock lock(known_->mutex);
    while (!builder.complete()) {
        const PageRange data = known_->data;
        if (builder.next() >= data.first && builder.next() < data.end()) {
            builder.extend_to(data.end(), true);
        } else {
            MIGRATE_TRY(find(builder, range));
        }
    }
    return {};
}

// Appends the next hole and the data that follows it.
Status FilePopulation::find(PopulationBuilder& builder, PageRange range) const {
    const auto seek = [this](std::uint64_t offset, int whence) {
        return ::lseek(fd_, static_cast<off_t>(offset), whence);
    };
    const std::uint64_t before = builder.next();
    const off_t data = seek(before * kPageSize, SEEK_DATA);
    if (data < 0 && errno == ENXIO) {
        MIGRATE_TRY(check_not_truncated(fd_, size_bytes_));
        builder.extend_to(range.end(), false);
        return {};
    }
    if (data < 0 && errno == EINVAL) {
        builder.extend_to(range.end(), true);
        return {};
    }
    if (data < 0) return Error::system("find data in the file", errno);
    builder.extend_to(static_cast<std::uint64_t>(data) / kPageSize, false);
    if (builder.complete()) return {};
    // A file without holes can still have pages that fallocate() made and nobody wrote. Only the
    // start of such a range is looked up, so up to one range of them is called populated.
    const bool begins_with_data = builder.next() == before;
    if (begins_with_data && has_every_page(fd_, size_bytes_)) {
        builder.extend_to(range.end(), true);
        return {};
    }
    // ENXIO means that the file was truncated between the two calls; the next SEEK_DATA reports
    // that.
    const off_t hole = seek(static_cast<std::uint64_t>(data), SEEK_HOLE);
    if (hole < 0 && errno == ENXIO) return {};
    if (hole < 0) return Error::system("find a hole in the file", errno);
    const std::uint64_t end = (static_cast<std::uint64_t>(hole) + kPageSize - 1) / kPageSize;
    known_->data = {builder.next(), end - builder.next()};
    builder.extend_to(end, true);
    return {};
}

void FilePopulation::forget() const {
    const MutexLock lock(known_->mutex);
    known_->data = {};
}

Result<PagemapPopulation> PagemapPopulation::create(Method method) {
    UniqueFd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
    if (!pagemap) return Error::system("open /proc/self/pagemap", errno);
    bool scans = false;
    if (method == Method::kScanIfAvailable) {
        std::array<PagemapRegion, 1> found{};
        PagemapScanArgument argument = written_pages(0, kPageSize, found);
        scans = ::ioctl(pagemap.get(), kPagemapScan, &argument) >= 0;
    }
    return PagemapPopulation(std::move(pagemap), scans);
}

Status PagemapPopulation::query(std::span<const std::byte> memory, PageRange range,
                                std::vector<PopulationExtent>& extents) const {
    PopulationBuilder builder(range, extents);
    return scans_ ? scan(memory, builder, range) : read_entries(memory, builder, range);
}

Status PagemapPopulation::scan(std::span<const std::byte> memory, PopulationBuilder& builder,
                               PageRange range) const {
    const std::uint64_t base = address_of(memory);
    const std::uint64_t end = base + range.end() * kPageSize;
    std::array<PagemapRegion, 128> found;
    MarkerFinder markers;
    std::uint64_t at = base + range.offset_bytes();
    while (at < end) {
        PagemapScanArgument argument = written_pages(at, end, found);
        const int count = ::ioctl(pagemap_.get(), kPagemapScan, &argument);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return Error::system("scan the page tables (PAGEMAP_SCAN)", errno);
        const auto regions = std::span(found).first(static_cast<std::size_t>(count));
        std::uint64_t last = 0;
        for (const PagemapRegion& region : regions) {
            if (may_be_marker(region)) last = region.end;
        }
        markers.forget();
        for (const PagemapRegion& region : regions) {
            builder.extend_to((region.start - base) / kPageSize, false);
            if (may_be_marker(region)) {
                markers.extend(builder, base, region.start, region.end, last);
            } else {
                builder.extend_to((region.end - base) / kPageSize, true);
            }
        }
        // A full vector ends the walk early; everything before walk_end was reported.
        builder.extend_to((argument.walk_end - base) / kPageSize, false);
        at = argument.walk_end;
    }
    return {};
}

Status PagemapPopulation::read_entries(std::span<const std::byte> memory,
                                       PopulationBuilder& builder, PageRange range) const {
    // 64 bits per page (Documentation/admin-guide/mm/pagemap.rst).
    constexpr std::uint64_t kSwapped = std::uint64_t{1} << 62;
    constexpr std::uint64_t kPresentOrSwapped = std::uint64_t{3} << 62;
    constexpr std::uint64_t kProtected = std::uint64_t{1} << 57;  // write-protected by userfaultfd
    const std::uint64_t base = address_of(memory);
    const std::uint64_t first_entry = base / kPageSize;
    MarkerFinder markers;
    std::array<std::uint64_t, 2048> entries;
    while (!builder.complete()) {
        const std::uint64_t wanted =
            std::min<std::uint64_t>(entries.size(), range.end() - builder.next());
        const off_t offset = static_cast<off_t>((first_entry + builder.next()) * sizeof entries[0]);
        const ssize_t got =
            ::pread(pagemap_.get(), entries.data(), wanted * sizeof entries[0], offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return Error::system("read /proc/self/pagemap", errno);
        const std::size_t whole = static_cast<std::size_t>(got) / sizeof entries[0];
        if (whole == 0) return make_error("/proc/self/pagemap ends before the memory does");
        markers.forget();
        const std::uint64_t last = base + (builder.next() + whole) * kPageSize;
        for (std::size_t i = 0; i < whole; ++i) {
            const std::uint64_t entry = entries[i] & (kPresentOrSwapped | kProtected);
            if (entry == (kSwapped | kProtected)) {
                const std::uint64_t at = base + builder.next() * kPageSize;
                markers.extend(builder, base, at, at + kPageSize, last);
            } else {
                builder.extend_to(builder.next() + 1, (entry & kPresentOrSwapped) != 0);
            }
        }
    }
    return {};
}

}  // namespace migrate::memory
