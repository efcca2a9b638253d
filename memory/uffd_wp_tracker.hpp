// The tracker "uffd-wp": the kernel's page tables remember what was written, and are asked and
// cleared in one step. The guest's first write to a page after each collect() costs a fault; a huge
// page becomes 512 small ones at the first write to it, and is reported by small pages from then
// on (hugetlbfs: always whole huge pages). Invariant: collect() reports what was written through
// the memory's mapping in this process.
#pragma once

#include <memory>

#include "base/error.hpp"
#include "memory/dirty_tracker.hpp"

namespace migrate::memory {

// kUsage where this memory cannot be protected.
Result<std::unique_ptr<DirtyTracker>> make_uffd_wp_tracker(const PageSource& source);
// Tries it on memory of its own.
DirtyTrackerSupport probe_uffd_wp();

}  // namespace migrate::memory
