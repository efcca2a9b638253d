// SPDX-License-Identifier: Apache-2.0
// A region in a file or memfd, mapped shared and writable: common code of the file sink, the memfd
// sink, and a guest's shared memory. Invariant: the file's size never changes after creation, and
// pages that are never written stay holes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"
#include "memory/anon_mapping.hpp"
#include "memory/backing_kind.hpp"
#include "memory/source/population.hpp"

namespace migrate::memory {

class SharedBacking {
  public:
    // `file` is empty; `what` names it in errors. `size_bytes` comes from the peer: it is checked
    // against the limits of the file system and the address space, and nothing is allocated.
    static Result<SharedBacking> create(UniqueFd file, std::uint64_t size_bytes, std::string what);
    // Uses a file that has at least that size, and does not resize it.
    static Result<SharedBacking> adopt(UniqueFd file, std::uint64_t size_bytes, std::string what);
    // Makes a new memfd, with transparent huge pages if the host has them.
    static Result<SharedBacking> create_memfd(std::uint64_t size_bytes, HugePages huge,
                                              std::string what);
    // Makes a memfd of 2 MiB pages from the host's pool; none is allocated yet.
    static Result<SharedBacking> create_hugetlb_memfd(std::uint64_t size_bytes, std::string what);

    std::span<std::byte> bytes() const { return mapping_.bytes(); }
    int fd() const { return file_.get(); }
    bool on_hugetlbfs() const { return huge_size_.has_value(); }

    // An Error if the file is now shorter than the region.
    Status check_size() const;
    BackingKind kind() const;
    Status prefault(PageRange range) const;
    // Returns why fresh pages could not be made, for which the kernel gave `code`.
    Error explain(PageRange range, int code) const;
    // Writes zeros to the pages: the file system must allocate a page that does not exist.
    Status write_zeros(PageRange range) const;
    Status clear(PageRange range) const;
    Status population(PageRange range, std::vector<PopulationExtent>& extents) const;

  private:
    SharedBacking(UniqueFd file, Mapping mapping, std::string what,
                  std::optional<std::uint64_t> huge_size)
        : file_(std::move(file)),
          mapping_(std::move(mapping)),
          population_(file_.get(), mapping_.size()),
          what_(std::move(what)),
          huge_size_(huge_size) {}
    std::span<std::byte> bytes_of(PageRange range) const {
        return mapping_.bytes().subspan(range.offset_bytes(), range.size_bytes());
    }

    UniqueFd file_;
    Mapping mapping_;
    FilePopulation population_;
    std::string what_;
    std::optional<std::uint64_t> huge_size_;
};

}  // namespace migrate::memory
