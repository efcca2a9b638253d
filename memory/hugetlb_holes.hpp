// Holes of a hugetlbfs file. SEEK_DATA calls all of it data, and reading a hole through a mapping
// allocates a huge page, so it is asked in ways that do neither. Invariant: no huge page is
// allocated by looking.
#pragma once

#include <optional>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"
#include "memory/population.hpp"

namespace migrate::memory {

// The huge page size of the file system the file is on; nothing if it is not hugetlbfs.
std::optional<std::uint64_t> hugetlb_page_size(int fd);

// How to find a huge page that is not there.
enum class HugetlbProbe {
    kUserfaultfd,  // exact: a missing page is a fault nobody answers. Needs write access and
                   // userfaultfd.
    kRead,  // read(2) gives zeros for a hole and allocates nothing; a written page of zeros looks
            // the same
};

// Tries kUserfaultfd first where `probe` is not given.
Status hugetlb_population(int fd, std::uint64_t size_bytes, PageRange range,
                          std::vector<PopulationExtent>& extents,
                          std::optional<HugetlbProbe> probe = std::nullopt);

}  // namespace migrate::memory
