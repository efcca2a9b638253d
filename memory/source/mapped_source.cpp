// SPDX-License-Identifier: Apache-2.0
#include "memory/source/mapped_source.hpp"

#include <utility>

#include "memory/sink/populate.hpp"

namespace migrate::memory {

Result<std::unique_ptr<MappedSource>> MappedSource::create(std::string_view uri, MemoryKind kind,
                                                           std::uint64_t size_bytes,
                                                           HugePages huge) {
    MIGRATE_ASSIGN(Backing backing, map(uri, kind, size_bytes, huge));
    return std::unique_ptr<MappedSource>(new MappedSource(uri, size_bytes, std::move(backing)));
}

Result<MappedSource::Backing> MappedSource::map(std::string_view uri, MemoryKind kind,
                                                std::uint64_t size_bytes, HugePages huge) {
    if (kind == MemoryKind::kAnon) {
        MIGRATE_ASSIGN(Mapping mapping, map_anonymous(size_bytes, huge, uri));
        MIGRATE_ASSIGN(PagemapPopulation pagemap, PagemapPopulation::create());
        return Backing(Private{std::move(mapping), std::move(pagemap)});
    }
    if (kind == MemoryKind::kMemfd) {
        MIGRATE_ASSIGN(SharedBacking backing,
                       SharedBacking::create_memfd(size_bytes, huge, std::string(uri)));
        return Backing(Shared{std::move(backing), false});
    }
    MIGRATE_ASSIGN(SharedBacking backing,
                   SharedBacking::create_hugetlb_memfd(size_bytes, std::string(uri)));
    // Prefault now, so that a pool that is too small is an Error; the guest's write would get a
    // signal.
    Status taken = backing.prefault({0, size_bytes / kPageSize});
    if (!taken) {
        return std::move(taken).error().with_context(
            "too few huge pages (see /proc/sys/vm/nr_hugepages)");
    }
    return Backing(Shared{std::move(backing), true});
}

std::span<std::byte> MappedSource::bytes() const {
    if (const auto* own = std::get_if<Private>(&backing_)) return own->mapping.bytes();
    return std::get_if<Shared>(&backing_)->backing.bytes();
}

Status MappedSource::population(RegionId, PageRange range,
                                std::vector<PopulationExtent>& extents) const {
    if (const auto* own = std::get_if<Private>(&backing_)) {
        return own->pagemap.query(own->mapping.bytes(), range, extents);
    }
    const auto* shared = std::get_if<Shared>(&backing_);
    if (!shared->all_populated) return shared->backing.population(range, extents);
    if (range.count != 0) extents.push_back({range, true});
    return {};
}

Status MappedSource::prefault(RegionId, PageRange range) const {
    const int code =
        populate(bytes().subspan(range.offset_bytes(), range.size_bytes()), PopulateFor::kReading);
    if (code != 0) return Error::system(fmt::format("read the memory of {}", uri_), code);
    return {};
}

std::optional<FileIdentity> MappedSource::file_of(RegionId) const {
    const auto* shared = std::get_if<Shared>(&backing_);
    if (shared == nullptr) return std::nullopt;
    const auto identity = identify(shared->backing.fd());
    return identity ? std::optional(*identity) : std::nullopt;
}

}  // namespace migrate::memory
