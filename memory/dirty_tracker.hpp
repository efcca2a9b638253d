// Which pages did the guest write since we last asked? One interface over what kernels offer.
// Invariant: no write is ever lost: a page written after collect() looked at it is in the next
// collect(), whatever the threads that write do meanwhile. A page too many is allowed. It holds for
// senders that read a page's bytes after the collect() that reported it.
// What is written is what the memory's owner writes (PageSource::owner(); this process, where there
// is none), its system calls and the kernel's threads in its page tables (vhost-net) included.
// uffd-wp does not see another process that has the same file mapped, nor what lands in pages that
// were pinned before the collect(): reads by O_DIRECT or io_uring, and a device's DMA. It refuses
// such an owner (memory/foreign_writers.hpp). hash compares, and so finds all that has landed when
// it looks: enough where the pause drains what is under way, as QEMU's does.
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

#include "base/error.hpp"
#include "memory/page_bitmap.hpp"
#include "memory/page_source.hpp"

namespace migrate::memory {

// Whose writes a tracker's check() looks for.
enum class Writers {
    kOwner,  // the memory's owner and its open files: about a millisecond
    kAll,    // every process of the host, too: as long as it takes to read all their maps
};

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
    // Private memory that was given back (MADV_DONTNEED), and so became zeros, is written. Of
    // shared memory only hash knows (MADV_REMOVE, a punched hole): to the others it is as it was
    // until the guest writes it, as a balloon's pages are to the guest. After an Error the
    // tracker's word is worth nothing, and the migration has failed; so it is after kCancelled,
    // with which a look that takes long ends soon after the stop.
    virtual Status collect(std::span<PageBitmap> dirty, const std::stop_token& stop) = 0;
    // True if it finds writes by marks in the owner's page tables, and so depends on check().
    virtual bool relies_on_marks() const { return false; }
    // That every write is still seen: an Error names a writer that leaves no marks, or memory that
    // was mapped anew. `said` is the owner's answer of now (MemoryOwner::outside_writer).
    virtual Status check(Writers /*writers*/, const std::optional<std::string>& /*said*/) const {
        return {};
    }
    // The guest's writes are plain writes again. Idempotent.
    virtual void stop() = 0;
    // How long a thread of the memory's owner was made to stand still so that its writes could be
    // tracked; 0 if none was.
    virtual std::chrono::microseconds stood_still() const { return {}; }

    // Whether it finds writes by comparing memory with what the destination holds, and so has to be
    // told by sent(). See hash_tracker.hpp for why it cannot know by itself.
    virtual bool needs_sent() const { return false; }
    // From start() on, for each page that goes out: `content` is what the destination will hold of
    // `pages`, to the byte, and nobody writes it: a copy of the guest's memory, from which the
    // packet is sent. Empty: zeros. A page of which this is not said stays written. Any thread, but
    // not during collect(), and each page by one thread at a time.
    virtual void sent(RegionId /*region*/, PageRange /*pages*/,
                      std::span<const std::byte> /*content*/) {}
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
