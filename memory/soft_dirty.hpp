// The kernel's soft-dirty bits (CONFIG_MEM_SOFT_DIRTY), and why there is no tracker made of them.
//
// They are read from /proc/PID/pagemap and cleared by /proc/PID/clear_refs, two steps, the second
// for the whole process. Neither order is safe while the guest runs:
//   read, clear:        a page first written between its reading and the clearing loses its mark
//                       without ever having shown it;
//   clear, read:        what was written before the clearing is gone before it is read;
//   read, clear, read:  the second reading shows only what was written after the clearing, so the
//                       page of the first line is in neither.
// No third source says which pages are in doubt: every clean one is. Hashing those is the tracker
// "hash". Stopping the guest around both steps, as CRIU does, would be safe, but costs a pause of a
// walk over all page tables each round, beside which uffd-wp and hash are better.
#pragma once

#include "memory/dirty_tracker.hpp"

namespace migrate::memory {

// Never usable; says which of the reasons holds here.
DirtyTrackerSupport probe_soft_dirty();

}  // namespace migrate::memory
