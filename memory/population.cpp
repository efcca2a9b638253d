#include "memory/population.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "memory/pagemap_scan.hpp"

namespace migrate::memory {
namespace {

std::uint64_t address_of(std::span<const std::byte> memory) {
    return reinterpret_cast<std::uintptr_t>(memory.data());
}

PagemapScanArgument written_pages(std::uint64_t start, std::uint64_t end,
                                  std::span<PagemapRegion> found) {
    PagemapScanArgument argument;
    argument.size = sizeof argument;
    argument.start = start;
    argument.end = end;
    argument.vec = reinterpret_cast<std::uintptr_t>(found.data());
    argument.vec_len = found.size();
    // (present or swapped) and not the zero page. The returned category is the same for all of
    // these, so that neighbours are merged whatever else tells them apart.
    argument.category_inverted = kPageIsZeroPage;
    argument.category_mask = kPageIsZeroPage;
    argument.category_anyof_mask = kPageIsPresent | kPageIsSwapped;
    argument.return_mask = kPageIsZeroPage;
    return argument;
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

Status file_population(int fd, std::uint64_t size_bytes, PageRange range,
                       std::vector<PopulationExtent>& extents) {
    PopulationBuilder builder(range, extents);
    const auto seek = [fd](std::uint64_t offset, int whence) {
        return ::lseek(fd, static_cast<off_t>(offset), whence);
    };
    while (!builder.complete()) {
        const off_t data = seek(builder.next() * kPageSize, SEEK_DATA);
        if (data < 0 && errno == ENXIO) {
            MIGRATE_TRY(check_not_truncated(fd, size_bytes));
            builder.extend_to(range.end(), false);
            break;
        }
        if (data < 0 && errno == EINVAL) {
            builder.extend_to(range.end(), true);
            break;
        }
        if (data < 0) return Error::system("find data in the file", errno);
        builder.extend_to(static_cast<std::uint64_t>(data) / kPageSize, false);
        if (builder.complete()) break;
        // ENXIO here is a file that was cut off between the two calls; the next SEEK_DATA tells.
        const off_t hole = seek(static_cast<std::uint64_t>(data), SEEK_HOLE);
        if (hole < 0 && errno == ENXIO) continue;
        if (hole < 0) return Error::system("find a hole in the file", errno);
        builder.extend_to((static_cast<std::uint64_t>(hole) + kPageSize - 1) / kPageSize, true);
    }
    return {};
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
    std::uint64_t at = base + range.offset_bytes();
    while (at < end) {
        PagemapScanArgument argument = written_pages(at, end, found);
        const int count = ::ioctl(pagemap_.get(), kPagemapScan, &argument);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return Error::system("scan the page tables (PAGEMAP_SCAN)", errno);
        for (const PagemapRegion& region :
             std::span(found).first(static_cast<std::size_t>(count))) {
            builder.extend_to((region.start - base) / kPageSize, false);
            builder.extend_to((region.end - base) / kPageSize, true);
        }
        // A full vector ends the walk early; all before walk_end was reported.
        builder.extend_to((argument.walk_end - base) / kPageSize, false);
        at = argument.walk_end;
    }
    return {};
}

Status PagemapPopulation::read_entries(std::span<const std::byte> memory,
                                       PopulationBuilder& builder, PageRange range) const {
    // Documentation/admin-guide/mm/pagemap.rst: 64 bits a page.
    constexpr std::uint64_t kPresentOrSwapped = std::uint64_t{3} << 62;
    const std::uint64_t first_entry = address_of(memory) / kPageSize;
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
        for (std::size_t i = 0; i < whole; ++i) {
            builder.extend_to(builder.next() + 1, (entries[i] & kPresentOrSwapped) != 0);
        }
    }
    return {};
}

}  // namespace migrate::memory
