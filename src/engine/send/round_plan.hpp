// SPDX-License-Identifier: Apache-2.0
// The pages that one round sends, and their distribution to the workers. Invariant: every page of
// the plan is claimed exactly once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/units.hpp"
#include "engine/send/work_cursor.hpp"
#include "memory/page_bitmap.hpp"

namespace migrate::engine {

// The pages of one region that a round sends.
struct PlannedPages {
    const memory::PageBitmap* written = nullptr;     // the pages to send; null: all of the region
    const memory::PageBitmap* given_back = nullptr;  // pages that are zeros; null: none
    const memory::PageBitmap* arrived = nullptr;     // pages not to send; null: none has arrived
    const memory::PageBitmap* postponed = nullptr;   // the same, in a later round; null: none is

    // The first planned page at or after `page`, or `end`.
    std::uint64_t next_planned(std::uint64_t page, std::uint64_t end) const;
    // The first page at or after `page` that is not planned, or `end`.
    std::uint64_t next_unplanned(std::uint64_t page, std::uint64_t end) const;
    // Number of planned pages in the range.
    std::uint64_t count(PageRange range) const;
};

// Finds the pages that the guest has written since they were planned.
class WrittenAgain {
  public:
    WrittenAgain() = default;
    WrittenAgain(const WrittenAgain&) = delete;
    WrittenAgain& operator=(const WrittenAgain&) = delete;
    virtual ~WrittenAgain() = default;

    // Sets the bits of such pages within `pages`. Any thread, but one at a time for each page.
    virtual Status find(RegionId region, PageRange pages, memory::PageBitmap& again) = 0;
};

// The bitmaps that a plan is made of (one per region) outlive it and do not change meanwhile, but
// for those of postponing().
class RoundPlan {
  public:
    using Bitmaps = std::span<const memory::PageBitmap>;

    // A plan of all pages of the regions, which `workers` threads share.
    static RoundPlan all(std::span<const RegionInfo> regions, unsigned workers);
    // A plan of the pages that were written since they were last sent. `given_back`: pages that are
    // zeros and need not be read, or no bitmap at all.
    static RoundPlan written(std::span<const RegionInfo> regions, unsigned workers, Bitmaps pages,
                             Bitmaps given_back);
    // The same plan from its beginning, without the pages that have arrived.
    RoundPlan without(Bitmaps arrived) const;
    // The same plan from its beginning. Pages that `finder` finds when their turn comes are not
    // sent: their bits are set in `postponed`, and the caller has to plan them for the next round.
    // Bits of other pages that were written are set, too.
    RoundPlan postponing(WrittenAgain& finder, std::span<memory::PageBitmap> postponed) const;

    std::span<const RegionInfo> regions() const { return regions_; }
    // Number of pages in the plan, without those that were postponed before it was made.
    std::uint64_t pages() const { return pages_; }
    // Divides the regions into groups: `group_of` has the group of each region, less than `groups`.
    // Called before the first claim.
    void divide(std::span<const unsigned> group_of, unsigned groups);
    // Claims the next span, of the given group as long as it has one: the caller has to send its
    // planned pages. Returns nothing when all spans are claimed. Any thread.
    std::optional<WorkSpan> claim(unsigned group = 0) const;
    // The first part of a claimed span, or of the rest of one.
    struct Part {
        PageRange pages;
        std::uint64_t postponed = 0;  // number of its planned pages that are not planned any more
    };
    // Decides which pages of the next part are postponed. The caller sends the others at once: the
    // sooner they are sent, the fewer are written before. Any thread.
    Result<Part> next_part(const WorkSpan& rest) const;
    // Any thread.
    PlannedPages pages_of(RegionId region) const;

  private:
    // Finds pages to postpone, and notes them; without a finder no page is postponed.
    struct Postponing {
        WrittenAgain* finder = nullptr;
        std::span<memory::PageBitmap> pages{};
    };
    RoundPlan(std::span<const RegionInfo> regions, unsigned workers, Bitmaps written,
              Bitmaps given_back, Bitmaps arrived, const Postponing& postponing);
    std::uint64_t count() const;
    Result<std::uint64_t> postpone(RegionId region, PageRange unit, std::uint64_t planned) const;

    std::span<const RegionInfo> regions_;
    unsigned workers_;
    Bitmaps written_;  // empty: all pages
    Bitmaps given_back_;
    Bitmaps arrived_;
    Postponing postponing_;
    std::uint64_t pages_;
    std::vector<std::unique_ptr<WorkCursor>> cursors_;  // one for each group
};

}  // namespace migrate::engine
