// Turns a span of guest memory into runs of normal, zero and unpopulated pages.
// Invariant: every page of the span is emitted exactly once, in order; memory that was never
// touched is not read.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "accel/page_scanner.hpp"
#include "base/error.hpp"
#include "base/units.hpp"
#include "engine/ratio_knob.hpp"
#include "engine/work_cursor.hpp"
#include "memory/page_bitmap.hpp"
#include "memory/page_source.hpp"

namespace migrate::engine {

// A region's pages that a round is about.
struct DirtyPages {
    const memory::PageBitmap* written = nullptr;     // null: all pages
    const memory::PageBitmap* given_back = nullptr;  // those of them that are zeros; null: none
};

// One per thread that scans.
class SpanScanner {
  public:
    struct Options {
        bool skip_unpopulated = true;
        std::optional<unsigned> normal_page_ratio;
        std::uint64_t batch_pages = 128;  // how many pages are checked at a time
    };
    // The run's pages, and where the content of the first of them lies; for pages that are not
    // normal it says nothing. May block (it sends).
    using Emit = std::function<Status(RegionId, const PageRun&, const std::byte*)>;

    // Without a scanner every populated page is normal.
    SpanScanner(const memory::PageSource& source, std::unique_ptr<accel::PageScanner> scanner,
                const Options& options);
    // From now on pages are not mapped but read into `staging`, of two batches at least, for the
    // scanner to look at and the consumer to send. Only with a scanner.
    void stage(Mapping staging);
    // Called whenever what was emitted is about to be overwritten; after it returns nobody looks at
    // that any more.
    using Release = std::function<Status()>;
    void before_reuse(Release release) { release_ = std::move(release); }

    // With pages that were written only those: they are populated, unless they are said to have
    // been given back, and then not read. The last pages of a span may be emitted only by the next
    // scan() or finish(), so that a device has work while the worker is between two spans.
    Status scan(const WorkSpan& span, const DirtyPages& dirty, const Emit& emit);
    // Emits what is left. Called before a round ends.
    Status finish(const Emit& emit);

  private:
    // Pages that are checked together: several stretches where few of a span are dirty, or
    // populated; those between them that are not populated go through with them, unread.
    struct Batch {
        RegionId region{};
        std::vector<memory::PopulationExtent> extents;
        const std::byte* staged = nullptr;  // where its populated pages were read to, in a row
        std::vector<std::uint64_t> zero_map;
    };

    void add_dirty(const WorkSpan& span, const DirtyPages& dirty);
    Status send_unscanned(RegionId region, const Emit& emit);
    Status scan_extents(RegionId region, const Emit& emit);
    Status flush(RegionId region, const Emit& emit);
    Status make_room(const Emit& emit);
    Status read_batch(RegionId region, Batch& batch);
    Status collect(const Emit& emit);

    const memory::PageSource& source_;
    std::unique_ptr<accel::PageScanner> scanner_;
    Options options_;
    bool prefaults_;  // whether pages may be absent when their turn to be read comes
    RatioKnob ratio_;
    std::vector<memory::PopulationExtent> extents_;  // of the span
    std::vector<memory::PopulationExtent> filling_;  // the batch that is not submitted yet …
    std::uint64_t to_check_ = 0;                     // … and how many of its pages are to be read
    std::vector<accel::PageExtent> submitted_;
    Mapping staging_;  // empty: pages are looked at where they are
    std::uint64_t staged_bytes_ = 0;
    Release release_;
    std::vector<Batch> in_flight_;  // a ring of scanner_->depth()
    std::size_t oldest_ = 0;
    std::size_t outstanding_ = 0;
};

}  // namespace migrate::engine
