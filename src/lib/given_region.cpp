// SPDX-License-Identifier: Apache-2.0
#include "lib/given_region.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <limits>
#include <utility>

#include "base/fault_guard.hpp"
#include "memory/sink/hugetlb_holes.hpp"

namespace migrate::lib {

using memory::BackingKind;
using memory::PopulationExtent;
using memory::ProcessMapping;

namespace {

// Shorter runs are overwritten with zeros, which is faster than giving their pages back and
// allocating them again.
constexpr std::uint64_t kGiveBackBytes = kHugePageSize;
constexpr std::uint64_t kStepPages = 64 * kMiB / kPageSize;
constexpr std::size_t kMaxNameBytes = 255;
// The name of private memory of the huge page pool in /proc/PID/maps.
constexpr std::string_view kPoolMemory = "/anon_hugepage";

Error wrong(const RegionSpec& spec, std::string_view why) {
    return make_error(ErrorKind::kUsage, "region '{}': {}", spec.name, why);
}

Status check_numbers(const RegionSpec& spec) {
    if (spec.name.empty() || spec.name.size() > kMaxNameBytes) {
        return make_error(ErrorKind::kUsage, "the name of a region has 1 … {} bytes, not {}",
                          kMaxNameBytes, spec.name.size());
    }
    const std::uint64_t page = spec.page_size;
    if (page < kPageSize || (page & (page - 1)) != 0) {
        return wrong(spec, "page_size is 0, or a power of two of at least 4096");
    }
    if (spec.size_bytes == 0 || spec.size_bytes % page != 0) {
        return wrong(spec, "its size is not a multiple of the page size");
    }
    if (spec.offset % page != 0)
        return wrong(spec, "its offset is not a multiple of the page size");
    constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());
    if (spec.offset > kMost || spec.size_bytes > kMost - spec.offset) {
        return wrong(spec, "no file is that long");
    }
    const auto address = reinterpret_cast<std::uintptr_t>(spec.address);
    if (address % kPageSize != 0) return wrong(spec, "its address is not a multiple of 4096");
    if (spec.size_bytes > std::numeric_limits<std::uintptr_t>::max() - address) {
        return wrong(spec, "it does not end within the address space");
    }
    if (spec.address == nullptr && spec.fd < 0) {
        return wrong(spec, "it has neither an address nor a descriptor");
    }
    if (spec.fd < 0 && spec.offset != 0) return wrong(spec, "private memory has no offset");
    return {};
}

// Calls see(mapping) for the mappings of [start, start + size), in order; an Error if they leave
// something out.
template <typename See>
Status for_mappings(const RegionSpec& spec, std::span<const ProcessMapping> mappings, See see) {
    std::uint64_t next = reinterpret_cast<std::uintptr_t>(spec.address);
    const std::uint64_t end = next + spec.size_bytes;
    for (const ProcessMapping& mapping : mappings) {
        if (mapping.end <= next || mapping.start >= end) continue;
        if (mapping.start > next) break;
        if (!mapping.readable || !mapping.writable) {
            return wrong(spec, "its memory is not readable and writable");
        }
        MIGRATE_TRY(see(mapping, next));
        next = mapping.end;
        if (next >= end) return {};
    }
    return wrong(spec, "not all of its memory is mapped");
}

}  // namespace

Result<std::vector<ProcessMapping>> own_mappings() { return memory::process_mappings(::getpid()); }

Status check_distinct(std::span<const RegionSpec> specs) {
    std::vector<const RegionSpec*> order;
    for (const RegionSpec& spec : specs) order.push_back(&spec);
    std::sort(order.begin(), order.end(),
              [](const auto* a, const auto* b) { return a->name < b->name; });
    for (std::size_t i = 1; i < order.size(); ++i) {
        if (order[i]->name == order[i - 1]->name) return wrong(*order[i], "two have this name");
    }
    std::sort(order.begin(), order.end(),
              [](const auto* a, const auto* b) { return std::less<>()(a->address, b->address); });
    for (std::size_t i = 1; i < order.size(); ++i) {
        if (order[i - 1]->address == nullptr) continue;
        const auto before = reinterpret_cast<std::uintptr_t>(order[i - 1]->address);
        const auto here = reinterpret_cast<std::uintptr_t>(order[i]->address);
        if (here - before < order[i - 1]->size_bytes) {
            return wrong(*order[i],
                         fmt::format("it shares memory with the region '{}'", order[i - 1]->name));
        }
    }
    return {};
}

Result<GivenRegion> GivenRegion::create(const RegionSpec& given,
                                        std::span<const ProcessMapping> mappings) {
    RegionSpec spec = given;
    if (spec.page_size == 0) spec.page_size = kPageSize;
    MIGRATE_TRY(check_numbers(spec));
    UniqueFd file;
    if (spec.fd >= 0) {
        file.reset(::fcntl(spec.fd, F_DUPFD_CLOEXEC, 0));
        if (!file) {
            return wrong(spec, Error::system("duplicate its descriptor", errno).message());
        }
    }
    GivenRegion region(spec, std::move(file));
    if (region.file_) MIGRATE_TRY(region.adopt_file(spec));
    MIGRATE_TRY(region.place(spec, mappings));
    return region;
}

Status GivenRegion::adopt_file(const RegionSpec& spec) {
    struct stat status {};
    if (::fstat(file_.get(), &status) != 0) {
        return wrong(spec, Error::system("examine its descriptor", errno).message());
    }
    if (!S_ISREG(status.st_mode)) return wrong(spec, "its descriptor is not that of a file");
    if ((::fcntl(file_.get(), F_GETFL) & O_ACCMODE) != O_RDWR) {
        return wrong(spec, "its descriptor is not open for reading and writing");
    }
    if (Status size = check_size(); !size) return std::move(size).error().as(ErrorKind::kUsage);
    const std::optional<std::uint64_t> huge = memory::hugetlb_page_size(file_.get());
    if (!huge) {
        file_pages_.emplace(file_.get(), offset_ + info_.size_bytes);
        return {};
    }
    if (info_.size_bytes % *huge != 0 || offset_ % *huge != 0) {
        return wrong(spec, fmt::format("size and offset are not multiples of the huge page size of "
                                       "its file system, {}",
                                       *huge));
    }
    page_size_ = *huge;
    return {};
}

Status GivenRegion::place(const RegionSpec& spec, std::span<const ProcessMapping> mappings) {
    if (spec.address == nullptr) {
        // The part of the file before the region costs address space only.
        MIGRATE_ASSIGN(mapping_, Mapping::create({.size = offset_ + info_.size_bytes,
                                                  .protection = PROT_READ | PROT_WRITE,
                                                  .flags = MAP_SHARED | MAP_NORESERVE,
                                                  .fd = file_.get(),
                                                  .what = fmt::format("region '{}'", spec.name)}));
        bytes_ = mapping_.bytes().subspan(offset_);
        return find_kind(false);
    }
    bytes_ = {spec.address, spec.size_bytes};
    if (!file_) {
        bool pool = false;
        MIGRATE_TRY(for_mappings(spec, mappings, [&](const ProcessMapping& mapping, std::uint64_t) {
            if (mapping.shared) {
                return Status(wrong(spec, "it is shared memory: give its descriptor, too"));
            }
            const bool huge = mapping.path.starts_with(kPoolMemory);
            if (mapping.file.inode != 0 && !huge) {
                return Status(wrong(spec,
                                    "it is a private mapping of a file, whose pages that were "
                                    "not written are not zero"));
            }
            pool = pool || huge;
            return Status();
        }));
        if (!pool) {
            MIGRATE_ASSIGN(pagemap_, memory::PagemapPopulation::create());
        }
        return find_kind(pool);
    }
    MIGRATE_ASSIGN(const FileIdentity identity, identify(file_.get()));
    const auto begin = reinterpret_cast<std::uintptr_t>(spec.address);
    // The device number of a mapping may differ from that of stat(2) (btrfs, overlayfs).
    MIGRATE_TRY(for_mappings(spec, mappings, [&](const ProcessMapping& mapping, std::uint64_t at) {
        const bool same = mapping.shared && mapping.file.inode == identity.inode &&
                          mapping.file_offset + (at - mapping.start) == offset_ + (at - begin);
        return same ? Status()
                    : Status(wrong(spec,
                                   "its address is not a shared mapping of its descriptor at "
                                   "its offset"));
    }));
    return find_kind(false);
}

Status GivenRegion::find_kind(bool huge_pages_of_pool) {
    const bool huge = page_size_ >= kHugePageSize;
    if (!file_) {
        kind_ = huge_pages_of_pool ? BackingKind::kHugetlb
                : huge             ? BackingKind::kPrivateHuge
                                   : BackingKind::kPrivate;
        return {};
    }
    if (!file_pages_) {
        kind_ = BackingKind::kHugetlb;
        return {};
    }
    struct statfs system {};
    if (::fstatfs(file_.get(), &system) != 0) {
        return Error::system("examine the file system of a region", errno);
    }
    kind_ = system.f_type != TMPFS_MAGIC ? BackingKind::kDisk
            : huge                       ? BackingKind::kSharedHuge
                                         : BackingKind::kShared;
    return {};
}

std::optional<FileIdentity> GivenRegion::file() const {
    if (!file_) return std::nullopt;
    const auto identity = identify(file_.get());
    return identity ? std::optional(*identity) : std::nullopt;
}

// The query is about pages of the file, and its answer becomes one about pages of the region.
template <typename Query>
Status GivenRegion::in_file(PageRange range, std::vector<PopulationExtent>& extents,
                            Query query) const {
    const std::size_t before = extents.size();
    const std::uint64_t shift = offset_ / kPageSize;
    MIGRATE_TRY(query(PageRange{range.first + shift, range.count}));
    for (std::size_t i = before; i < extents.size(); ++i) extents[i].pages.first -= shift;
    return {};
}

Status GivenRegion::population(PageRange range, std::vector<PopulationExtent>& extents) const {
    if (pagemap_) return pagemap_->query(bytes_, range, extents);
    if (!file_) {
        if (range.count != 0) extents.push_back({range, true});
        return {};
    }
    return in_file(range, extents, [&](PageRange pages) {
        if (file_pages_) return file_pages_->query(pages, extents);
        return memory::hugetlb_population(file_.get(), offset_ + info_.size_bytes, pages, extents);
    });
}

void GivenRegion::look_again() const {
    if (file_pages_) file_pages_->forget();
}

bool GivenRegion::give_back(PageRange range) const {
    // Huge pages of the pool were reserved for the VMM, which keeps them.
    if (kind_ == BackingKind::kHugetlb) return false;
    const auto bytes = bytes_of(range);
    if (!file_) return ::madvise(bytes.data(), bytes.size(), MADV_DONTNEED) == 0;
    if (::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(offset_ + range.offset_bytes()),
                    static_cast<off_t>(range.size_bytes())) != 0) {
        return false;
    }
    file_pages_->forget();
    return true;
}

Status GivenRegion::write_zeros(PageRange range) const {
    if (range.count == 0) return {};
    const auto bytes = bytes_of(range);
    return guard_writes(fmt::format("region '{}'", info_.name),
                        [bytes] { std::memset(bytes.data(), 0, bytes.size()); });
}

// Gives back only whole huge pages: giving back a part would split them.
Status GivenRegion::clear(PageRange range) const {
    const std::uint64_t unit = page_size_ / kPageSize;
    const std::uint64_t first = std::min((range.first + unit - 1) / unit * unit, range.end());
    const std::uint64_t end = std::max(range.end() / unit * unit, first);
    const PageRange whole{first, end - first};
    if (whole.size_bytes() < kGiveBackBytes || !give_back(whole)) return write_zeros(range);
    MIGRATE_TRY(write_zeros({range.first, first - range.first}));
    return write_zeros({end, range.end() - end});
}

Status GivenRegion::clear_all(const std::stop_token& stop) const {
    std::vector<PopulationExtent> extents;
    MIGRATE_TRY(population({0, info_.pages()}, extents));
    for (const PopulationExtent& extent : extents) {
        if (!extent.populated) continue;
        for (std::uint64_t next = extent.pages.first; next < extent.pages.end();) {
            if (stop.stop_requested()) {
                return make_error(ErrorKind::kCancelled,
                                  "cancelled while region '{}' was cleared; a part of it is zero "
                                  "now",
                                  info_.name);
            }
            const PageRange step{next, std::min(kStepPages, extent.pages.end() - next)};
            MIGRATE_TRY(clear(step));
            next = step.end();
        }
    }
    return {};
}

Status GivenRegion::check_size() const {
    if (!file_) return {};
    struct stat status {};
    if (::fstat(file_.get(), &status) != 0) {
        return Error::system(fmt::format("examine region '{}'", info_.name), errno);
    }
    if (static_cast<std::uint64_t>(status.st_size) >= offset_ + info_.size_bytes) return {};
    return make_error("region '{}': its file has {} bytes, and the region ends at {}", info_.name,
                      status.st_size, offset_ + info_.size_bytes);
}

}  // namespace migrate::lib
