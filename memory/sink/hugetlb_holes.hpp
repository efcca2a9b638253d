// SPDX-License-Identifier: Apache-2.0
// Finds holes of a hugetlbfs file. SEEK_DATA reports all of it as data, and reading a hole through
// a mapping allocates a huge page, so other ways are used. Invariant: examining the file allocates
// no huge page.
#pragma once

#include <optional>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"
#include "memory/source/population.hpp"

namespace migrate::memory {

// Returns the huge page size of the file's file system; nothing if that is not hugetlbfs.
std::optional<std::uint64_t> hugetlb_page_size(int fd);

// The way to find a huge page that is not allocated.
enum class HugetlbProbe {
    kUserfaultfd,  // exact: access to a missing page raises SIGBUS. Needs write access and
                   // userfaultfd.
    kRead,  // read(2) gives zeros for a hole and allocates nothing; a written page of zeros looks
            // the same
};

// If `probe` is not given, tries kUserfaultfd first.
Status hugetlb_population(int fd, std::uint64_t size_bytes, PageRange range,
                          std::vector<PopulationExtent>& extents,
                          std::optional<HugetlbProbe> probe = std::nullopt);

}  // namespace migrate::memory
