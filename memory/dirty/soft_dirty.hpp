// SPDX-License-Identifier: Apache-2.0
// The kernel's soft-dirty bits (CONFIG_MEM_SOFT_DIRTY), and why no tracker uses them.
//
// They are read from /proc/PID/pagemap and cleared by /proc/PID/clear_refs: two steps, and the
// second affects the whole process. Neither order is safe while the guest runs:
//   read, clear:        a page that is first written between the two loses its mark before anybody
//                       reads it;
//   clear, read:        writes before the clearing are erased before they are read;
//   read, clear, read:  the second reading shows only writes after the clearing, so neither reading
//                       shows the page of the first line.
// No third source says which pages are in doubt: every clean page is. Hashing those is the tracker
// "hash". Stopping the guest around both steps, as CRIU does, would be safe, but each round would
// pause the guest for a walk over all page tables; uffd-wp and hash are better.
#pragma once

#include "memory/dirty/dirty_tracker.hpp"

namespace migrate::memory {

// Never usable; the detail says which of the reasons applies here.
DirtyTrackerSupport probe_soft_dirty();

}  // namespace migrate::memory
