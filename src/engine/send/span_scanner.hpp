// SPDX-License-Identifier: Apache-2.0
// Turns a span of guest memory into runs of normal, zero and unpopulated pages.
// Invariant: every planned page of the span reaches the sink exactly once, in order; memory that
// was never touched is not read.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "accel/page_scanner.hpp"
#include "base/error.hpp"
#include "base/units.hpp"
#include "engine/send/prefaulted_pages.hpp"
#include "engine/send/ratio_knob.hpp"
#include "engine/send/round_plan.hpp"
#include "engine/send/work_cursor.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::engine {

// Takes the runs that a SpanScanner finds.
class RunSink {
  public:
    RunSink() = default;
    RunSink(const RunSink&) = delete;
    RunSink& operator=(const RunSink&) = delete;
    virtual ~RunSink() = default;

    // Takes a run. `content` is the address of its first page's content, and unused for pages that
    // are not normal. May block, since it sends.
    virtual Status add(RegionId region, const PageRun& run, const std::byte* content) = 0;
    // Called before content that was added is overwritten. After it returns, nobody reads that
    // content any more.
    virtual Status release() = 0;
};

// One per thread that scans.
class SpanScanner {
  public:
    struct Options {
        bool skip_unpopulated = true;
        std::optional<unsigned> normal_page_ratio;
        std::uint64_t batch_pages = 128;  // pages that are checked at a time
        // Shared by the scanners of a session, and outlives them. Null: pages are prefaulted each
        // time that they are scanned.
        PrefaultedPages* prefaulted = nullptr;
    };
    // Without a scanner every populated page is normal.
    SpanScanner(const memory::PageSource& source, std::unique_ptr<accel::PageScanner> scanner,
                const Options& options);
    // Before the first scan: pages of regions that are not mapped, and all pages if
    // `reads_mapped` is set, are read into `staging` (at least two batches long), where the scanner
    // checks them and the consumer sends them. They are read in steps of at most kStagedPages, so
    // that they are checked while they are in the CPU's nearest caches.
    void stage(Mapping staging, bool reads_mapped);
    static constexpr std::uint64_t kStagedPages = 16;

    // Scans the planned pages of the span. Pages that were written are populated, unless they were
    // given back; for other pages the source is asked. The last pages of a span may reach the sink
    // only by the next scan() or finish(), so that a device has work while the worker is between
    // two spans.
    Status scan(const WorkSpan& span, const PlannedPages& planned, RunSink& sink);
    // Passes on the pages that are left. Called before a round ends.
    Status finish(RunSink& sink);
    // Drops what a round that was broken off has left. Called before the first round of a
    // connection.
    Status restart();

  private:
    // Pages that are checked together. A batch has several extents if few pages of a span are dirty
    // or populated; unpopulated pages between them pass through unread.
    struct Batch {
        RegionId region{};
        std::vector<memory::PopulationExtent> extents;
        const std::byte* staged = nullptr;  // its populated pages, read one after the other
        std::vector<std::uint64_t> zero_map;
    };

    // Where pages are read to; without memory all pages are checked in place.
    struct Staging {
        Mapping memory;
        bool of_mapped = false;  // mapped regions are staged, too
        std::uint64_t used = 0;  // the bytes that the consumer may still read
    };

    void add_written(const WorkSpan& span, const PlannedPages& planned);
    Status add_populated(const WorkSpan& span, const PlannedPages& planned);
    Status send_unscanned(RegionId region, RunSink& sink);
    Status scan_extents(RegionId region, RunSink& sink);
    Status flush(RegionId region, RunSink& sink);
    // True if the region's pages are staged.
    bool reads(RegionId region) const;
    std::uint64_t batch_pages(RegionId region) const;
    Status make_room(std::uint64_t pages, RunSink& sink);
    Status read_staged(RegionId region, PageRange pages);
    Status read_batch(RegionId region, Batch& batch);
    Status take_answer();
    Status collect(RunSink& sink);

    const memory::PageSource& source_;
    std::unique_ptr<accel::PageScanner> scanner_;
    Options options_;
    bool may_be_absent_;      // true if mapped pages may be absent when they are read
    bool prefaults_ = false;  // true if those of the span may be
    RatioKnob ratio_;
    std::vector<memory::PopulationExtent> extents_;  // extents of the span
    std::vector<memory::PopulationExtent> filling_;  // extents of the batch not submitted yet
    std::uint64_t to_check_ = 0;                     // number of its pages that are checked
    std::vector<accel::PageExtent> submitted_;
    Staging staging_;
    std::vector<Batch> in_flight_;  // a ring of scanner_->depth()
    std::size_t oldest_ = 0;
    std::size_t outstanding_ = 0;
};

}  // namespace migrate::engine
