// SPDX-License-Identifier: Apache-2.0
// Reports the pages that the guest wrote since the last query: one interface over the mechanisms of
// different kernels. Invariant: no write is ever lost. A page written after collect() read its
// state is in the next collect(), whatever the writing threads do meanwhile. Reporting too many
// pages is allowed. The invariant holds for senders that read a page's bytes after the collect()
// that reported it.
// Writes are those of the memory's owner (PageSource::owner(); this process if there is none),
// including its system calls and the kernel's threads that use its page tables (vhost-net). uffd-wp
// does not see writes by another process that maps the same file, nor writes into pages that were
// pinned before the collect(): reads by O_DIRECT or io_uring, and a device's DMA. It refuses such
// an owner (memory/foreign/foreign_writers.hpp). hash compares content, so it finds everything that
// has landed when it reads; this suffices if the pause drains pending I/O, as QEMU's does.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/config/choices.hpp"
#include "base/error.hpp"
#include "memory/page_bitmap.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::memory {

// The writers that a tracker's check() looks for.
enum class Writers {
    kOwner,  // the memory's owner and its open files: takes about a millisecond
    kAll,    // also every other process of the host: takes as long as reading all their maps
};

// One thread uses it; the guest writes meanwhile.
class DirtyTracker {
  public:
    DirtyTracker() = default;
    DirtyTracker(const DirtyTracker&) = delete;
    DirtyTracker& operator=(const DirtyTracker&) = delete;
    // The destructor of an implementation stops the tracking.
    virtual ~DirtyTracker() = default;

    // The name in the option dirty-tracker: "uffd-wp", "soft-dirty", "hash". "none" for memory that
    // nobody writes.
    virtual std::string_view name() const = 0;
    // When this returns, every later write is seen. Call it once.
    virtual Status start() = 0;
    // Sets in `dirty`, which has one bitmap per region, the bit of every page that was written
    // since start() or the last collect(), and resets the tracker's record of it in the same step.
    // Bits that are already set stay set. Private memory that was given back (MADV_DONTNEED), and
    // so became zeros, counts as written. For shared memory (MADV_REMOVE, a punched hole) only hash
    // detects that; the other trackers report such a page only when the guest writes it again, just
    // as the guest regards a balloon's pages. A collection that takes long ends with kCancelled
    // soon after the stop. After any Error the tracker's results are invalid, and the migration has
    // failed.
    virtual Status collect(std::span<PageBitmap> dirty, const std::stop_token& stop) = 0;
    // True if peek() can find pages.
    virtual bool can_peek() const { return false; }
    // Sets in `written` the bits of those of `pages` that were written since the last collect(), as
    // far as the tracker can tell at once, and changes nothing: the next collect() reports them, if
    // they are not given back before. Any thread may call it, but not during collect().
    virtual Status peek(RegionId /*region*/, PageRange /*pages*/, PageBitmap& /*written*/) const {
        return {};
    }
    // True if the tracker finds writes by marks in the owner's page tables, and so depends on
    // check().
    virtual bool relies_on_marks() const { return false; }
    // Checks that every write is still seen: an Error names a writer that leaves no marks, or
    // memory that was remapped. `said` is the owner's present answer (MemoryOwner::outside_writer).
    virtual Status check(Writers /*writers*/, const std::optional<std::string>& /*said*/) const {
        return {};
    }
    // Ends the tracking: the guest's writes are plain writes again. Idempotent.
    virtual void stop() = 0;
    // Time for which a thread of the memory's owner was stopped so that its writes could be
    // tracked; 0 if none was.
    virtual std::chrono::microseconds stood_still() const { return {}; }

    // True if the tracker compares memory with the content at the destination, and so needs calls
    // of sent(). See hash_tracker.hpp for the reason.
    virtual bool needs_sent() const { return false; }
    // To be called for each page that goes out, from start() on. `content` is exactly what the
    // destination will hold for `pages`; empty means zeros. It must be a copy of the guest's memory
    // that nobody writes and from which the packet is sent. A page that is not reported here stays
    // dirty. Any thread may call it, but not during collect(), and one thread at a time for each
    // page.
    virtual void sent(RegionId /*region*/, PageRange /*pages*/,
                      std::span<const std::byte> /*content*/) {}
};

// A dirty tracker and whether this host can use it.
struct DirtyTrackerSupport {
    std::string name;
    bool usable = false;
    std::string detail;  // its abilities; or why it cannot be used and what would change that
};
// The order is that in which "auto" prefers them.
std::vector<DirtyTrackerSupport> probe_dirty_trackers();

// `name` is "auto" (the first usable tracker that can track this memory; the choice is logged with
// its reason) or a tracker's name. kUsage, with the reason, if this host or this memory cannot use
// the named one. Memory that is constant gets a tracker that never reports a page, whatever the
// name. The memory is mapped in this process and outlives the tracker.
Result<std::unique_ptr<DirtyTracker>> make_dirty_tracker(std::string_view name,
                                                         const PageSource& source);

}  // namespace migrate::memory
