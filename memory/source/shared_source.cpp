// SPDX-License-Identifier: Apache-2.0
#include "memory/source/shared_source.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "memory/sink/hugetlb_holes.hpp"
#include "memory/sink/populate.hpp"

namespace migrate::memory {
namespace {

class SharedSource final : public PageSource {
  public:
    SharedSource(std::string_view uri, MemoryOwner owner) : uri_(uri), owner_(std::move(owner)) {}

    Status add(SharedRegion region) {
        MIGRATE_ASSIGN(const FileIdentity identity, identify(region.file.get()));
        MIGRATE_ASSIGN(const std::uint64_t size, size_of(region));
        if (size < region.size_bytes) {
            return make_error("{} has {} bytes, and the region '{}' that it holds has {}",
                              region.path, size, region.name, region.size_bytes);
        }
        MIGRATE_ASSIGN(Mapping mapping, Mapping::create({.size = region.size_bytes,
                                                         .protection = PROT_READ,
                                                         .flags = MAP_SHARED | MAP_NORESERVE,
                                                         .fd = region.file.get(),
                                                         .what = region.path}));
        const std::optional<std::uint64_t> huge_size = hugetlb_page_size(region.file.get());
        const bool hugetlb = huge_size.has_value();
        largest_page_bytes_ = std::max(largest_page_bytes_, huge_size.value_or(0));
        infos_.push_back({region.name, region.size_bytes});
        FilePopulation population(region.file.get(), region.size_bytes);
        parts_.push_back({std::move(region), std::move(mapping), std::move(population), identity,
                          size, hugetlb});
        return {};
    }

    std::string_view description() const override { return uri_; }
    std::span<const RegionInfo> regions() const override { return infos_; }
    std::span<const std::byte> memory(RegionId region) const override {
        return parts_[index_of(region)].mapping.bytes();
    }

    Status population(RegionId region, PageRange range,
                      std::vector<PopulationExtent>& extents) const override {
        const Part& part = parts_[index_of(region)];
        const int file = part.region.file.get();
        Status status = part.hugetlb ? hugetlb_population(file, part.mapping.size(), range, extents)
                                     : part.population.query(range, extents);
        if (!status) return std::move(status).error().with_context(part.region.path);
        return {};
    }

    bool reading_fills_holes() const override { return true; }

    void look_again() const override {
        for (const Part& part : parts_) part.population.forget();
    }

    Status prefault(RegionId region, PageRange range) const override {
        const Part& part = parts_[index_of(region)];
        const int code =
            populate(part.mapping.bytes().subspan(range.offset_bytes(), range.size_bytes()),
                     PopulateFor::kReading);
        if (code == 0) return {};
        return Error::system(
            fmt::format("read {} at offset {}", part.region.path, range.offset_bytes()), code);
    }

    std::uint64_t largest_page_bytes() const override { return largest_page_bytes_; }
    std::optional<FileIdentity> file_of(RegionId region) const override {
        return parts_[index_of(region)].identity;
    }

    // The owner writes the file all the time, but a changed size means that it is other memory.
    Status check_unchanged() const override {
        for (const Part& part : parts_) {
            MIGRATE_ASSIGN(const std::uint64_t size, size_of(part.region));
            if (size == part.file_bytes) continue;
            return make_error("{} was changed while it was sent: it had {} bytes and has {}",
                              part.region.path, part.file_bytes, size);
        }
        return {};
    }

    const MemoryOwner* owner() const override { return &owner_; }

  private:
    static Result<std::uint64_t> size_of(const SharedRegion& region) {
        struct stat status {};
        if (::fstat(region.file.get(), &status) != 0) {
            return Error::system(fmt::format("examine {}", region.path), errno);
        }
        return static_cast<std::uint64_t>(status.st_size);
    }

    struct Part {
        SharedRegion region;
        Mapping mapping;
        FilePopulation population;
        FileIdentity identity;
        std::uint64_t file_bytes = 0;  // file size when it was opened
        bool hugetlb = false;
    };

    std::string uri_;
    MemoryOwner owner_;
    std::vector<RegionInfo> infos_;
    std::vector<Part> parts_;
    std::uint64_t largest_page_bytes_ = PageSource::largest_page_bytes();
};

}  // namespace

Result<std::unique_ptr<PageSource>> open_shared_source(std::string_view uri,
                                                       std::vector<SharedRegion> regions,
                                                       MemoryOwner owner) {
    owner.kinds.clear();
    for (const SharedRegion& region : regions) {
        MIGRATE_ASSIGN(const FileMemory kind, file_memory_of(region.file.get(), region.path));
        owner.kinds.push_back(kind);
    }
    auto source = std::make_unique<SharedSource>(uri, std::move(owner));
    for (SharedRegion& region : regions) MIGRATE_TRY(source->add(std::move(region)));
    return std::unique_ptr<PageSource>(std::move(source));
}

}  // namespace migrate::memory
