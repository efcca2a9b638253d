// SPDX-License-Identifier: Apache-2.0
#include "memory/foreign/process_population.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <string>

#include "base/pagemap_scan.hpp"
#include "memory/dirty/write_protection.hpp"

namespace migrate::memory {
namespace {

// 64 bits per page (Documentation/admin-guide/mm/pagemap.rst). Bits 55 to 61 describe the page's
// history and are not compared.
constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;
constexpr std::uint64_t kSwapped = std::uint64_t{1} << 62;
// The type and offset of an entry that is not present. The kernel shows zeros without
// CAP_SYS_ADMIN.
constexpr std::uint64_t kTypeAndOffset = (std::uint64_t{1} << 55) - 1;

Result<UniqueFd> open_pagemap(const std::string& path) {
    UniqueFd pagemap(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!pagemap) return Error::system("open " + path, errno);
    return pagemap;
}

// Protects an untouched page of this process and returns its entry: userfaultfd's markers have the
// same entry in every process. 0 if this kernel or this process's rights do not show it.
Result<std::uint64_t> find_marker() {
    auto protection = WriteProtection::create();
    auto pagemap = open_pagemap("/proc/self/pagemap");
    if (!protection || !pagemap) return std::uint64_t{0};
    MIGRATE_ASSIGN(const Mapping page, Mapping::create({.size = kPageSize,
                                                        .protection = PROT_READ | PROT_WRITE,
                                                        .flags = MAP_PRIVATE | MAP_ANONYMOUS,
                                                        .what = "a page to try it on"}));
    if (!protection->watch(page.bytes()) || !protection->protect(page.bytes())) {
        return std::uint64_t{0};
    }
    std::uint64_t entry = 0;
    const auto number = reinterpret_cast<std::uintptr_t>(page.data()) / kPageSize;
    const ssize_t size =
        ::pread(pagemap->get(), &entry, sizeof entry, static_cast<off_t>(number * sizeof entry));
    protection->release(page.bytes());
    const bool is_marker = size == sizeof entry && (entry & (kPresent | kSwapped)) == kSwapped;
    return is_marker ? entry & kTypeAndOffset : 0;
}

PagemapScanArgument untouched_pages(std::uint64_t start, std::uint64_t end,
                                    std::span<PagemapRegion> found) {
    PagemapScanArgument argument = pagemap_scan_of(start, end, found);
    select_untouched(argument);
    return argument;
}

bool kernel_scans(const UniqueFd& pagemap) {
    std::array<PagemapRegion, 1> found{};
    PagemapScanArgument argument = untouched_pages(0, kPageSize, found);
    return ::ioctl(pagemap.get(), kPagemapScan, &argument) >= 0;
}

}  // namespace

Result<ProcessPopulation> ProcessPopulation::create(pid_t pid) {
    MIGRATE_ASSIGN(UniqueFd pagemap, open_pagemap(fmt::format("/proc/{}/pagemap", pid)));
    MIGRATE_ASSIGN(const std::uint64_t marker, find_marker());
    const bool scans = kernel_scans(pagemap);
    return ProcessPopulation(std::move(pagemap), marker, scans);
}

bool ProcessPopulation::is_populated(std::uint64_t entry) const {
    if ((entry & kPresent) != 0) return true;
    if ((entry & kSwapped) == 0) return false;
    return marker_ == 0 || (entry & kTypeAndOffset) != marker_;
}

Status ProcessPopulation::query(std::uint64_t address, PageRange range,
                                std::vector<PopulationExtent>& extents) const {
    PopulationBuilder builder(range, extents);
    std::array<std::uint64_t, 2048> entries;
    while (!builder.complete()) {
        const std::uint64_t wanted =
            std::min<std::uint64_t>(entries.size(), range.end() - builder.next());
        const std::uint64_t number = address / kPageSize + builder.next();
        const ssize_t got = ::pread(pagemap_.get(), entries.data(), wanted * sizeof entries[0],
                                    static_cast<off_t>(number * sizeof entries[0]));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return Error::system("read the page map of the process", errno);
        const std::size_t whole = static_cast<std::size_t>(got) / sizeof entries[0];
        // A process that has ended has no memory.
        if (whole == 0) return make_error("the process has ended, or its memory is gone");
        for (std::size_t i = 0; i < whole; ++i) {
            builder.extend_to(builder.next() + 1, is_populated(entries[i]));
        }
    }
    return {};
}

Status ProcessPopulation::query_hugetlb(std::uint64_t address, PageRange range,
                                        std::vector<PopulationExtent>& extents) const {
    PopulationBuilder builder(range, extents);
    std::array<PagemapRegion, 128> found;
    const std::uint64_t end = address + range.end() * kPageSize;
    std::uint64_t at = address + range.offset_bytes();
    while (scans_ && at < end) {
        PagemapScanArgument argument = untouched_pages(at, end, found);
        const int count = ::ioctl(pagemap_.get(), kPagemapScan, &argument);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return Error::system("scan the page tables of the process", errno);
        for (const PagemapRegion& run : std::span(found).first(static_cast<std::size_t>(count))) {
            builder.extend_to((run.start - address) / kPageSize, true);
            builder.extend_to((run.end - address) / kPageSize, false);
        }
        // A full vector ends the walk early.
        builder.extend_to((argument.walk_end - address) / kPageSize, true);
        at = argument.walk_end;
    }
    builder.extend_to(range.end(), true);
    return {};
}

}  // namespace migrate::memory
