// SPDX-License-Identifier: Apache-2.0
#include "memory/source/file_source.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/fd.hpp"
#include "base/file_io.hpp"
#include "base/log.hpp"
#include "base/regular_file.hpp"
#include "memory/file_memory.hpp"
#include "memory/sink/hugetlb_holes.hpp"
#include "memory/sink/populate.hpp"

namespace migrate::memory {
namespace {

// Reading a hole of a hugetlbfs file through its mapping would allocate a huge page in it. Private
// memory covers the holes instead; it reads as the kernel's zero page. If covering a hole fails, it
// and the following holes stay as they were.
void cover_holes(const Mapping& mapping, std::span<const PopulationExtent> extents) {
    for (const PopulationExtent& extent : extents) {
        if (extent.populated) continue;
        const auto hole =
            mapping.bytes().subspan(extent.pages.offset_bytes(), extent.pages.size_bytes());
        const void* covered =
            ::mmap(hole.data(), hole.size(), PROT_READ,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
        if (covered == MAP_FAILED) {
            log::warning("cannot cover a hole of the hugetlbfs file; reading it would allocate it");
            return;
        }
    }
}

class FileSource final : public PageSource {
  public:
    FileSource(std::string_view uri, std::string_view path, UniqueFd file, FileMemory kind,
               Mapping mapping, const struct stat& opened)
        : uri_(uri),
          path_(path),
          file_(std::move(file)),
          kind_(kind),
          opened_(opened),
          mapping_(std::move(mapping)),
          population_(file_.get(), mapping_.size()),
          region_{"ram", mapping_.size()} {}

    std::string_view description() const override { return uri_; }
    std::span<const RegionInfo> regions() const override { return {&region_, 1}; }
    std::span<const std::byte> memory(RegionId) const override { return mapping_.bytes(); }

    // Called once, at open, because it examines every huge page.
    Status find_hugetlb_holes() {
        MIGRATE_TRY(
            hugetlb_population(file_.get(), region_.size_bytes, {0, region_.pages()}, hugetlb_));
        cover_holes(mapping_, hugetlb_);
        return {};
    }

    Status population(RegionId, PageRange range,
                      std::vector<PopulationExtent>& extents) const override {
        if (hugetlb_.empty()) {
            Status status = population_.query(range, extents);
            if (!status) return std::move(status).error().with_context(path_);
            return {};
        }
        PopulationBuilder builder(range, extents);
        auto extent = std::upper_bound(
            hugetlb_.begin(), hugetlb_.end(), range.first,
            [](std::uint64_t page, const PopulationExtent& e) { return page < e.pages.end(); });
        for (; extent != hugetlb_.end() && !builder.complete(); ++extent) {
            builder.extend_to(extent->pages.end(), extent->populated);
        }
        return {};
    }

    Status prefault(RegionId, PageRange range) const override {
        const int code =
            populate(mapping_.bytes().subspan(range.offset_bytes(), range.size_bytes()),
                     PopulateFor::kReading);
        if (code == 0) return {};
        if (code != EFAULT) return Error::system(fmt::format("read {}", path_), code);
        return cannot_read(range);
    }

    // A file on a disk is read ahead by read() alone. Reading a hole of tmpfs through the mapping
    // would allocate a page in the file.
    bool prefers_read(bool holes_too) const override {
        if (kind_ == FileMemory::kShmem) return holes_too;
        return kind_ == FileMemory::kOnDisk;
    }
    Status read(RegionId, PageRange range, std::byte* to) const override {
        const std::size_t size = range.size_bytes();
        if (read_at(file_.get(), range.offset_bytes(), {to, size}) == size) return {};
        if (errno == 0 || errno == EIO) return cannot_read(range);
        return Error::system(fmt::format("read {}", path_), errno);
    }

    std::optional<FileIdentity> file_of(RegionId) const override {
        return FileIdentity{opened_.st_dev, opened_.st_ino};
    }

    Status check_unchanged() const override {
        struct stat now {};
        if (::fstat(file_.get(), &now) != 0) {
            return Error::system(fmt::format("examine {}", path_), errno);
        }
        if (now.st_size != opened_.st_size) {
            return make_error("{} was changed while it was sent: it had {} bytes and has {}", path_,
                              opened_.st_size, now.st_size);
        }
        if (now.st_mtim.tv_sec != opened_.st_mtim.tv_sec ||
            now.st_mtim.tv_nsec != opened_.st_mtim.tv_nsec) {
            return make_error(
                "{} was written to while it was sent: the copy is not what it held at any time",
                path_);
        }
        return {};
    }

  private:
    Error cannot_read(PageRange range) const {
        return make_error(
            "cannot read {}: it was truncated while in use, or its disk cannot be read "
            "(in the {} bytes from offset {})",
            path_, range.size_bytes(), range.offset_bytes());
    }

    std::string uri_;
    std::string path_;
    UniqueFd file_;
    FileMemory kind_;
    struct stat opened_ {};
    Mapping mapping_;
    FilePopulation population_;
    RegionInfo region_;
    std::vector<PopulationExtent>
        hugetlb_;  // extents of the whole region, for hugetlbfs; constant after open
};

Status check_size(std::string_view path, std::uint64_t size) {
    if (size == 0) return make_error(ErrorKind::kUsage, "{}: the file is empty", path);
    if (size % kPageSize == 0) return {};
    return make_error(ErrorKind::kUsage,
                      "{}: its size of {} bytes is not a multiple of the page size, {}", path, size,
                      kPageSize);
}

}  // namespace

Result<std::unique_ptr<PageSource>> open_file_source(std::string_view uri, std::string_view path) {
    MIGRATE_ASSIGN(UniqueFd file, open_regular_file(std::string(path), O_RDONLY));
    return make_file_source(uri, path, std::move(file));
}

Result<std::unique_ptr<PageSource>> make_file_source(std::string_view uri, std::string_view path,
                                                     UniqueFd file) {
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) {
        return Error::system(fmt::format("examine {}", path), errno);
    }
    const auto size = static_cast<std::uint64_t>(status.st_size);
    MIGRATE_TRY(check_size(path, size));
    MIGRATE_ASSIGN(Mapping mapping, Mapping::create({.size = size,
                                                     .protection = PROT_READ,
                                                     .flags = MAP_SHARED | MAP_NORESERVE,
                                                     .fd = file.get(),
                                                     .what = std::string(path)}));
    MIGRATE_ASSIGN(const FileMemory kind, file_memory_of(file.get(), std::string(path)));
    auto source =
        std::make_unique<FileSource>(uri, path, std::move(file), kind, std::move(mapping), status);
    if (kind == FileMemory::kHugetlb) MIGRATE_TRY(source->find_hugetlb_holes());
    return std::unique_ptr<PageSource>(std::move(source));
}

}  // namespace migrate::memory
