// Which pages did the guest write since we last asked? One interface over what kernels offer.
// Invariant: no write is ever lost: a page written after collect() looked at it is in the next
// collect(), whatever the threads that write do meanwhile. A page too many is allowed.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "memory/page_bitmap.hpp"
#include "memory/page_source.hpp"

namespace migrate::memory {

// Used by one thread; the guest writes meanwhile.
class DirtyTracker {
  public:
    DirtyTracker() = default;
    DirtyTracker(const DirtyTracker&) = delete;
    DirtyTracker& operator=(const DirtyTracker&) = delete;
    // Stops.
    virtual ~DirtyTracker() = default;

    // As in the option dirty-tracker: "uffd-wp", "soft-dirty", "hash".
    virtual std::string_view name() const = 0;
    // From its return on every write is seen. Once.
    virtual Status start() = 0;
    // Sets in `dirty`, which has one bitmap a region, the bit of every page that was written since
    // start() or the last collect(), and forgets it in the same step. Bits that are set stay set.
    virtual Status collect(std::span<PageBitmap> dirty) = 0;
    // The guest's writes are plain writes again. Idempotent.
    virtual void stop() = 0;
};

// What this host can use.
struct DirtyTrackerSupport {
    std::string name;
    bool usable = false;
    std::string detail;  // what it can do, or why it cannot be used and what would change that
};
// In the order in which "auto" prefers them.
std::vector<DirtyTrackerSupport> probe_dirty_trackers();

// `name`: "auto" (the first usable one that can track this memory; the choice is logged with its
// reason) or a tracker's name, which is kUsage with the reason where this host or this memory
// cannot have it. The memory, which outlives the tracker, is mapped in this process.
Result<std::unique_ptr<DirtyTracker>> make_dirty_tracker(std::string_view name,
                                                         const PageSource& source);

}  // namespace migrate::memory
