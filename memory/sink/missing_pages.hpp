// SPDX-License-Identifier: Apache-2.0
// The memory of a guest that runs before all of its pages have come (post-copy). A page is awaited
// from remove() until its content was placed. Invariants: an awaited page does not exist, so that a
// thread that touches it waits; each page is placed once, in one step, and its content is never
// written over something that the guest has written.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"
#include "base/wait.hpp"
#include "memory/backing_kind.hpp"
#include "memory/page_bitmap.hpp"

namespace migrate::memory {

class MissingPages {
  public:
    struct Memory {
        RegionInfo info;
        std::span<std::byte> bytes;  // page-aligned, of the region's size
        BackingKind kind = BackingKind::kPrivate;
    };
    // An Error says why this host cannot make threads wait for missing pages.
    static Status check_host();
    // `memory`, in the order of RegionId, outlives this object. Huge pages are switched off in it:
    // the kernel must not fill a gap with zeros to make one. kRefused for memory of another kind
    // than private or shared.
    static Result<std::unique_ptr<MissingPages>> create(std::vector<Memory> memory);
    // Ends the waits of all threads. If pages are still awaited, these threads read zeros: the
    // guest must have ended by then.
    ~MissingPages() = default;
    MissingPages(const MissingPages&) = delete;
    MissingPages& operator=(const MissingPages&) = delete;

    // The content of these pages comes later: removes what is there. `runs` are in ascending order
    // and lie within the region, and nothing writes there meanwhile. Not called after arm(). An
    // Error if the memory cannot be removed.
    Status remove(RegionId region, std::span<const PageRange> runs);
    // From now on a thread that touches a page that does not exist waits. No other userfaultfd has
    // the memory.
    Status arm();
    // Number of pages that are awaited. Any thread.
    std::uint64_t awaited() const { return awaited_.load(std::memory_order_acquire); }
    bool is_awaited(RegionId region, std::uint64_t page) const {
        return at(region).awaited.test(page);
    }
    // The awaited pages of a region; read it while no thread places pages.
    const PageBitmap& awaited(RegionId region) const { return at(region).awaited; }

    struct Fault {
        RegionId region{};
        std::uint64_t page = 0;
    };
    // Waits until a thread touches a page that does not exist, until `until`, or until `wakeup` is
    // called. Returns nothing then. Called by one thread, after arm().
    Result<std::optional<Fault>> next_fault(const Wakeup& wakeup, WaitClock::time_point until);
    // The thread goes on: the page is not awaited, so it is there by now, or it is zero.
    Status resolve_locally(const Fault& fault) const;

    // Number of pages that were placed, and of those that were dropped because nobody awaits them.
    struct Placed {
        std::uint64_t placed = 0;
        std::uint64_t dropped = 0;
    };
    // Places pages that have come, and lets the threads that wait for them go on. `pages` lies
    // within the region, and `content` has its size. After an Error (there is no memory) some pages
    // may still be awaited; others are placed. Any thread, after arm().
    Result<Placed> place(RegionId region, PageRange pages, std::span<const std::byte> content);
    // The same for pages that are zeros. They take no memory before they are touched.
    Result<Placed> place_zeros(RegionId region, PageRange pages);

    // Called once no page is awaited: the memory is like any other again.
    void disarm();

  private:
    struct Region {
        Memory memory;
        PageBitmap awaited;
        // Pages of `awaited` that a thread is placing, and all that were placed.
        PageBitmap taken;
    };
    explicit MissingPages(UniqueFd faults, std::vector<Region> regions)
        : faults_(std::move(faults)), regions_(std::move(regions)) {}
    const Region& at(RegionId region) const { return regions_[index_of(region)]; }
    // The next run of `pages` at or after `page` that this thread may place; all of it is taken.
    static PageRange take_next(Region& region, std::uint64_t page, PageRange pages);
    Status copy(const Region& region, PageRange pages, std::span<const std::byte> content) const;
    Status zero(const Region& region, std::uint64_t page) const;
    void wake(const Region& region, PageRange pages) const;
    void note_placed(std::uint64_t pages);
    std::optional<Fault> locate(std::uint64_t address) const;

    UniqueFd faults_;  // a userfaultfd
    std::vector<Region> regions_;
    std::atomic<std::uint64_t> awaited_{0};
};

}  // namespace migrate::memory
