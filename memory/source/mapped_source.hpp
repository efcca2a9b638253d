// SPDX-License-Identifier: Apache-2.0
// Memory of this process as a source, for guests that live in it: one region, "ram", writable and
// initially zero. population() reports the state at the time of the call; a dirty tracker sees
// pages that are written later.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/config/choices.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"
#include "memory/anon_mapping.hpp"
#include "memory/shared_backing.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::memory {

using migrate::MemoryKind;

class MappedSource final : public PageSource {
  public:
    // `size_bytes` is a multiple of the page size. `huge` selects transparent huge pages and has no
    // effect for kHugetlb.
    static Result<std::unique_ptr<MappedSource>> create(std::string_view uri, MemoryKind kind,
                                                        std::uint64_t size_bytes, HugePages huge);

    std::span<std::byte> bytes() const;

    std::string_view description() const override { return uri_; }
    std::span<const RegionInfo> regions() const override { return {&region_, 1}; }
    std::span<const std::byte> memory(RegionId) const override { return bytes(); }
    Status population(RegionId region, PageRange range,
                      std::vector<PopulationExtent>& extents) const override;
    bool reading_fills_holes() const override { return std::holds_alternative<Shared>(backing_); }
    bool populated_is_present() const override { return true; }
    Status prefault(RegionId region, PageRange range) const override;
    std::optional<FileIdentity> file_of(RegionId region) const override;

  private:
    struct Private {
        Mapping mapping;
        PagemapPopulation pagemap;
    };
    // For shared memory SEEK_DATA reports the written pages; hugetlb memory is all populated.
    struct Shared {
        SharedBacking backing;
        bool all_populated = false;
    };
    using Backing = std::variant<Private, Shared>;

    MappedSource(std::string_view uri, std::uint64_t size_bytes, Backing backing)
        : uri_(uri), region_{"ram", size_bytes}, backing_(std::move(backing)) {}
    static Result<Backing> map(std::string_view uri, MemoryKind kind, std::uint64_t size_bytes,
                               HugePages huge);

    std::string uri_;
    RegionInfo region_;
    Backing backing_;
};

}  // namespace migrate::memory
