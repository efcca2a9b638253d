// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/region_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/file_io.hpp"
#include "memory/anon_mapping.hpp"
#include "memory/pieces.hpp"

namespace migrate::memory {
namespace {

// Zeros are written in runs of up to this size; a hole takes their place from this size on.
constexpr std::uint64_t kZeroPages = 64 * kKiB / kPageSize;
alignas(kPageSize) constexpr std::array<std::byte, kZeroPages * kPageSize> kZeros{};
// The part of a file that is written back between two looks at the stop token, and the most parts
// of a huge file, most of which is a hole.
constexpr std::uint64_t kWriteBackPages = 64 * kMiB / kPageSize;
constexpr std::uint64_t kMostParts = 1024;

}  // namespace

RegionFile::RegionFile(UniqueFd file, Mapping digests, std::uint64_t size_bytes, std::string what)
    : file_(std::move(file)),
      digests_(std::move(digests)),
      size_bytes_(size_bytes),
      what_(std::move(what)),
      population_(file_.get(), size_bytes) {}

Result<RegionFile> RegionFile::create(UniqueFd file, std::uint64_t size_bytes, std::string what) {
    if (::ftruncate(file.get(), static_cast<off_t>(size_bytes)) != 0) {
        return Error::system(fmt::format("give {} its size of {} bytes", what, size_bytes), errno);
    }
    MIGRATE_ASSIGN(Mapping digests,
                   map_anonymous(size_bytes / kPageSize * sizeof(Digest), HugePages::kOff,
                                 fmt::format("the digests of {}", what)));
    return RegionFile(std::move(file), std::move(digests), size_bytes, std::move(what));
}

void RegionFile::add(const Digest& change) const {
    const MutexLock lock(sum_->mutex);
    sum_->digest += change;
}

Digest RegionFile::digest() const {
    const MutexLock lock(sum_->mutex);
    return sum_->digest;
}

Status RegionFile::write(PageRange pages, std::span<const std::byte> content) const {
    Digest change;
    PageRange run{pages.first, 0};
    const auto write_run = [&] {
        const std::uint64_t offset = run.offset_bytes() - pages.offset_bytes();
        return write_content(run, content.subspan(offset, run.size_bytes()));
    };
    for (std::uint64_t page = pages.first; page < pages.end(); ++page) {
        const std::byte* const at = content.data() + (page - pages.first) * kPageSize;
        const Digest fresh = digest_content(at, {page, 1});
        Digest& known = digests()[page];
        if (fresh == Digest{} && known == Digest{}) {
            MIGRATE_TRY(write_run());
            run = {page + 1, 0};
            continue;
        }
        change += fresh;
        change -= known;
        known = fresh;
        ++run.count;
    }
    MIGRATE_TRY(write_run());
    add(change);
    return {};
}

Status RegionFile::write_content(PageRange pages, std::span<const std::byte> content) const {
    if (write_at(file_.get(), pages.offset_bytes(), content)) return {};
    return Error::system(fmt::format("write {}", what_), errno);
}

Status RegionFile::clear(PageRange pages) const {
    Digest change;
    for (std::uint64_t page = pages.first; page < pages.end(); ++page) {
        change -= std::exchange(digests()[page], Digest{});
    }
    add(change);
    if (pages.count >= kZeroPages &&
        ::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(pages.offset_bytes()),
                    static_cast<off_t>(pages.size_bytes())) == 0) {
        population_.forget();
        return {};
    }
    // Not every file system punches holes.
    return for_each_step(pages, kZeroPages, [this](PageRange step) {
        return write_content(step, std::span(kZeros).first(step.size_bytes()));
    });
}

Status RegionFile::read(PageRange pages, std::span<std::byte> to) const {
    if (read_at(file_.get(), pages.offset_bytes(), to) == to.size()) return {};
    if (errno == 0) return make_error("{} was truncated while it was written", what_);
    return Error::system(fmt::format("read {}", what_), errno);
}

Status RegionFile::population(PageRange pages, std::vector<PopulationExtent>& extents) const {
    return population_.query(pages, extents);
}

Status RegionFile::write_back(const std::stop_token& stop) const {
    const std::uint64_t pages = size_bytes_ / kPageSize;
    const std::uint64_t step = std::max(kWriteBackPages, pages / kMostParts);
    MIGRATE_TRY(for_each_step({0, pages}, step, [&](PageRange part) -> Status {
        if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
        constexpr unsigned kAll =
            SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
        if (::sync_file_range(file_.get(), static_cast<off_t>(part.offset_bytes()),
                              static_cast<off_t>(part.size_bytes()), kAll) == 0) {
            return {};
        }
        // A file system without it: sync() does all.
        if (errno == EINVAL || errno == ESPIPE || errno == ENOSYS) return {};
        return Error::system(fmt::format("write {} to its disk", what_), errno);
    }));
    return sync();
}

Status RegionFile::sync() const {
    struct stat status {};
    if (::fstat(file_.get(), &status) != 0) {
        return Error::system(fmt::format("examine {}", what_), errno);
    }
    if (static_cast<std::uint64_t>(status.st_size) != size_bytes_) {
        return make_error("{} has {} bytes, and was made with {}: another program changed it",
                          what_, status.st_size, size_bytes_);
    }
    if (::fdatasync(file_.get()) == 0) return {};
    return Error::system(fmt::format("write {} to its disk", what_), errno);
}

}  // namespace migrate::memory
