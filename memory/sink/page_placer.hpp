// Decides for each page that arrives: prefault, clear, leave unchanged, or refuse. Invariants: a
// page is accepted at most once per round; a zero page is written only if the page was placed
// before (it is never read to compare); finish_full_round() succeeds only if every page was
// accounted for.
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
#include "memory/sink/prefaulter.hpp"

namespace migrate::memory {

// The writer of a packet's pages: a system call, which fails with EFAULT if there is no memory, or
// this program, which would get a SIGBUS.
enum class WrittenBy { kSystemCall, kProgram };

class PagePlacer {
  public:
    // `sink` is prepared for `regions` and outlives the placer. `helpers`: threads that share the
    // prefaulting with the calling worker, 0 for none; they are useful if there are fewer workers
    // than CPUs. `run_helper` as in Prefaulter.
    static Result<std::unique_ptr<PagePlacer>> create(PageSink& sink,
                                                      std::span<const RegionInfo> regions,
                                                      unsigned helpers,
                                                      Prefaulter::RunHelper run_helper = {});

    // Takes a packet's runs, which lie within the region: clears stale zero and unpopulated pages,
    // prefaults fresh normal ones, and appends to `payload` the destinations of the normal pages,
    // in order (none if the sink discards). Short runs that the kernel writes are left to its own
    // page faults if there are no helpers to prefault them. An Error if a page came before in this
    // round. Thread-safe.
    Status accept(RegionId region, std::span<const PageRun> runs, WrittenBy writer,
                  std::vector<iovec>& payload);
    // Returns why the kernel could not write a packet's normal pages (EFAULT): the error of
    // prefaulting them, or `fault` if that succeeds.
    Error explain(RegionId region, std::span<const PageRun> runs, Error fault) const;

    // Ends a round in which every page had to come: an Error names the first page that did not. No
    // accept() may run meanwhile. The next round starts with no page accounted for.
    Status finish_full_round();
    // Does the same for a round in which `pages` pages had to come, regardless of which.
    Status finish_round(std::uint64_t pages);

  private:
    struct Region {
        RegionInfo info;
        PageBitmap seen;    // accounted for in this round
        PageBitmap placed;  // written by us at least once: may be non-zero
    };

    PagePlacer(PageSink& sink, std::vector<Region> regions, std::unique_ptr<Prefaulter> prefaulter);
    Status place_zero(RegionId id, Region& region, PageRange pages);

    PageSink& sink_;
    std::vector<Region> regions_;
    std::unique_ptr<Prefaulter> prefaulter_;
};

}  // namespace migrate::memory
