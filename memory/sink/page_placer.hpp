// SPDX-License-Identifier: Apache-2.0
// Decides for each page that arrives: receive it in place, allocate and fill it, clear it, leave it
// unchanged, or reject it. Invariants: a page is accepted at most once per round; a zero page is
// written only if the page was placed before (memory is never read to compare);
// finish_full_round() succeeds only if every page was accounted for.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/units.hpp"
#include "memory/page_bitmap.hpp"
#include "memory/sink/page_sink.hpp"
#include "memory/sink/placement.hpp"
#include "memory/sink/prefaulter.hpp"

namespace migrate::memory {

// The writer of a packet's pages: a system call, which fails with EFAULT if there is no memory, or
// this program, which would get a SIGBUS.
enum class WrittenBy { kSystemCall, kProgram };

// Copies `content` to the parts, one after the other; together they are as long. An Error if their
// memory cannot be written.
Status copy_to_parts(std::span<const std::byte> content, std::span<const iovec> parts);

// Where the normal pages of one packet go. A channel uses it again for each packet.
struct Destinations {
    // Pages whose content arrives in the channel's buffer. PagePlacer::fill() then allocates and
    // fills them, or writes them.
    struct Staged {
        PageRange pages;
        std::span<const std::byte> content;  // in the channel's buffer
    };

    // In the packet's order; for staged pages, parts of the channel's buffer.
    std::vector<iovec> parts;
    std::vector<Staged> staged;  // adjacent ranges are merged

    void clear() {
        parts.clear();
        staged.clear();
    }
};

class PagePlacer {
  public:
    // `sink` is prepared for `regions` and outlives the placer. `helpers`: threads that share the
    // prefaulting with the calling worker, 0 for none; they are useful if there are fewer workers
    // than CPUs. `run_helper` as in Prefaulter. Until end_rounds(), nothing else may touch a
    // missing page of a region that is filled by uffd-copy. An Error if the memory does not allow
    // `wanted`.
    static Result<std::unique_ptr<PagePlacer>> create(PageSink& sink,
                                                      std::span<const RegionInfo> regions,
                                                      unsigned helpers,
                                                      Prefaulter::RunHelper run_helper = {},
                                                      Placement wanted = Placement::kAuto);
    // The same with a plan that was made before.
    static Result<std::unique_ptr<PagePlacer>> create(PageSink& sink,
                                                      std::span<const RegionInfo> regions,
                                                      unsigned helpers,
                                                      Prefaulter::RunHelper run_helper,
                                                      PlacementPlan plan);

    // How each region is filled and why, in the order of RegionId.
    std::span<const PlacementChoice> placements() const { return plan_.regions; }
    // True if channels need a buffer for staged pages.
    bool needs_buffer() const { return plan_.filler != nullptr || plan_.writes; }

    // Takes a packet's runs, which lie within the region. Clears zero and unpopulated pages that
    // were placed before, prefaults fresh normal pages that are received in place, and sets `to` to
    // the destinations of the normal pages (none if the sink discards). Without helpers, short runs
    // that the kernel writes are not prefaulted: page faults cost less. `buffer` has room for the
    // packet's normal pages; it may be empty if !needs_buffer(). An Error if a page came before in
    // this round. Thread-safe.
    Status accept(RegionId region, std::span<const PageRun> runs, WrittenBy writer,
                  std::span<std::byte> buffer, Destinations& to);
    // Allocates and fills, or writes, the pages of a packet whose content has arrived in the
    // buffer. Thread-safe.
    Status fill(RegionId region, const Destinations& to);
    // Notes that the content of these runs is complete: received, checked and filled. Thread-safe.
    void complete(RegionId region, std::span<const PageRun> runs) const {
        sink_.note_arrived(region, runs);
    }
    // Before the first round: these pages belong to it and have arrived. place() writes their
    // content, keep() leaves them as they are in the sink. Thread-safe.
    Status place(RegionId region, PageRange pages, std::span<const std::byte> content);
    Status keep(RegionId region, PageRange pages);
    // Returns why the kernel could not write a packet's normal pages (EFAULT): the error of
    // prefaulting them, or `fault` if that succeeds.
    Error explain(RegionId region, std::span<const PageRun> runs, Error fault) const;

    // Takes back a packet that accept() took and whose content did not arrive: its pages may come
    // again in this round. Call it instead of fill(). Thread-safe.
    void withdraw(RegionId region, std::span<const PageRun> runs, const Destinations& to);
    // The pages of a region that are accounted for in this round. No accept() may run meanwhile.
    const PageBitmap& arrived(RegionId region) const { return regions_[index_of(region)].seen; }

    // Ends a round that must have every page: an Error names the first page that is missing. No
    // accept() may run meanwhile. The next round starts with no page accounted for.
    Status finish_full_round();
    // Does the same for a round that must have `pages` pages, regardless of which.
    Status finish_round(std::uint64_t pages);
    // Releases the memory for other uses: no page is accepted from now on. May be called again.
    void end_rounds() { plan_.filler.reset(); }
    // The other uses have ended, and pages are accepted again. They are received in place.
    void resume_rounds();

  private:
    struct Region {
        RegionInfo info;
        PageBitmap seen;    // accounted for in this round
        PageBitmap placed;  // written by us since it was last cleared: may be non-zero
    };

    PagePlacer(PageSink& sink, std::vector<Region> regions, std::unique_ptr<Prefaulter> prefaulter,
               PlacementPlan plan);
    Status place_zero(RegionId id, Region& region, PageRange pages);
    // Fills `pages`, which are a part of `staged`.
    Status fill_part(RegionId id, const Destinations::Staged& staged, PageRange pages) const;
    // Each adds the destinations of a run, and marks its pages as placed.
    void place_staged(RegionId id, Region& region, PageRange pages, std::span<std::byte>& buffer,
                      Destinations& to) const;
    // Returns true if a page of the run was not placed before.
    bool place_directly(RegionId id, Region& region, PageRange pages, Destinations& to) const;

    PageSink& sink_;
    std::vector<Region> regions_;
    std::unique_ptr<Prefaulter> prefaulter_;
    PlacementPlan plan_;
};

}  // namespace migrate::memory
