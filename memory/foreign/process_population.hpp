// SPDX-License-Identifier: Apache-2.0
// Finds the pages of another process's private anonymous memory that were ever written, without
// reading them, by /proc/PID/pagemap. Invariant: a page called unpopulated reads as zeros; a page
// in doubt is called populated.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"
#include "memory/source/population.hpp"

namespace migrate::memory {

class ProcessPopulation {
  public:
    static Result<ProcessPopulation> create(pid_t pid);

    // Appends the extents of `range` of the memory that begins at `address` in the process. Not for
    // huge pages of the host's pool. Thread-safe.
    Status query(std::uint64_t address, PageRange range,
                 std::vector<PopulationExtent>& extents) const;
    // The same for huge pages of the host's pool, of which /proc/PID/pagemap shows neither that the
    // kernel is moving one, nor a tracker's mark on an untouched one: both entries look untouched.
    // The kernel's scan calls both of them swapped, and so they are populated. Without such a scan
    // (before Linux 6.7) all pages are populated.
    Status query_hugetlb(std::uint64_t address, PageRange range,
                         std::vector<PopulationExtent>& extents) const;

  private:
    ProcessPopulation(UniqueFd pagemap, std::uint64_t marker, bool scans)
        : pagemap_(std::move(pagemap)), marker_(marker), scans_(scans) {}
    bool is_populated(std::uint64_t entry) const;

    UniqueFd pagemap_;
    // The entry of a page that a dirty tracker protects and that nobody ever wrote; 0: not known.
    std::uint64_t marker_;
    bool scans_;  // the kernel has PAGEMAP_SCAN
};

}  // namespace migrate::memory
