// SPDX-License-Identifier: Apache-2.0
// A part of a VMM's memory, given by address or by descriptor: its content is read, placed and
// cleared, and its holes are found. Invariants: the memory is what the caller said it is (checked
// by create()); it is neither unmapped nor resized here.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/file_identity.hpp"
#include "base/units.hpp"
#include "memory/backing_kind.hpp"
#include "memory/foreign/process_maps.hpp"
#include "memory/source/population.hpp"

namespace migrate::lib {

// A region as the caller gives it; see struct migrate_region.
struct RegionSpec {
    std::string name;
    std::byte* address = nullptr;  // null: not mapped
    std::uint64_t size_bytes = 0;
    int fd = -1;
    std::uint64_t offset = 0;
    std::uint64_t page_size = 0;
};

// The mappings of this process.
Result<std::vector<memory::ProcessMapping>> own_mappings();
// Checks that names are unique and that no two regions share addresses. kUsage.
Status check_distinct(std::span<const RegionSpec> specs);

class GivenRegion {
  public:
    // kUsage if the memory is not what `spec` says. `mappings`: own_mappings(). Maps memory without
    // an address.
    static Result<GivenRegion> create(const RegionSpec& spec,
                                      std::span<const memory::ProcessMapping> mappings);

    const RegionInfo& info() const { return info_; }
    std::span<std::byte> bytes() const { return bytes_; }
    // The memory of these pages.
    std::span<std::byte> bytes_of(PageRange range) const {
        return bytes_.subspan(range.offset_bytes(), range.size_bytes());
    }
    memory::BackingKind kind() const { return kind_; }
    std::uint64_t page_size() const { return page_size_; }
    bool is_shared() const { return static_cast<bool>(file_); }
    // True if it lies where the VMM itself uses it, so that its writes can be tracked there.
    bool is_at_owners_address() const { return !mapping_; }
    // The file that holds it; nothing for private memory.
    std::optional<FileIdentity> file() const;
    // The same as PageSource::population(). Private huge pages of the host's pool count as
    // populated.
    Status population(PageRange range, std::vector<memory::PopulationExtent>& extents) const;
    // Forgets cached results of population().
    void look_again() const;
    // Makes pages zero; gives the memory of long runs back. Thread-safe.
    Status clear(PageRange range) const;
    // Makes the whole region zero, step by step; kCancelled if `stop` is requested meanwhile.
    Status clear_all(const std::stop_token& stop) const;
    // An Error if the file is shorter than the region now.
    Status check_size() const;

  private:
    GivenRegion(const RegionSpec& spec, UniqueFd file)
        : info_{spec.name, spec.size_bytes},
          file_(std::move(file)),
          offset_(spec.offset),
          page_size_(spec.page_size) {}
    Status adopt_file(const RegionSpec& spec);
    Status place(const RegionSpec& spec, std::span<const memory::ProcessMapping> mappings);
    Status find_kind(bool huge_pages_of_pool);
    // Returns true if the memory was given back to the system, so that it reads as zeros.
    bool give_back(PageRange range) const;
    Status write_zeros(PageRange range) const;
    template <typename Query>
    Status in_file(PageRange range, std::vector<memory::PopulationExtent>& extents,
                   Query query) const;

    RegionInfo info_;
    UniqueFd file_;             // none: private memory
    std::uint64_t offset_ = 0;  // of the region in the file
    std::uint64_t page_size_ = 0;
    Mapping mapping_;  // if the caller gave no address
    std::span<std::byte> bytes_;
    memory::BackingKind kind_ = memory::BackingKind::kPrivate;
    std::optional<memory::PagemapPopulation> pagemap_;  // of private memory
    std::optional<memory::FilePopulation> file_pages_;  // of files but hugetlbfs
};

}  // namespace migrate::lib
