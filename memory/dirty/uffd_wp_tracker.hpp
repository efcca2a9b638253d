// SPDX-License-Identifier: Apache-2.0
// The tracker "uffd-wp": the kernel's page tables record writes; one step reads and clears the
// record. The guest's first write to a page after each collect() costs a fault. A huge page is
// split into 512 small ones at the first write to it, and is reported by small pages from then on
// (hugetlbfs: always whole huge pages). Invariant: collect() reports all writes through the owner's
// mapping of the memory.
#pragma once

#include <memory>

#include "base/error.hpp"
#include "memory/dirty/dirty_tracker.hpp"

namespace migrate::memory {

// kUsage if this memory cannot be protected.
Result<std::unique_ptr<DirtyTracker>> make_uffd_wp_tracker(const PageSource& source);
// Tries the mechanism on scratch memory.
DirtyTrackerSupport probe_uffd_wp();

}  // namespace migrate::memory
