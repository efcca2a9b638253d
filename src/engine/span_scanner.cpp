#include "engine/span_scanner.hpp"

#include <algorithm>

#include "memory/fault_guard.hpp"

namespace migrate::engine {

SpanScanner::SpanScanner(const memory::PageSource& source,
                         std::unique_ptr<accel::PageScanner> scanner, const Options& options)
    : source_(source),
      scanner_(std::move(scanner)),
      options_(options),
      prefaults_(!options.skip_unpopulated || !source.populated_is_present()),
      ratio_(options.normal_page_ratio) {
    if (!scanner_) return;
    in_flight_.resize(scanner_->depth());
    for (Batch& batch : in_flight_) batch.zero_map.resize((options_.batch_pages + 63) / 64);
}

Status SpanScanner::scan(const WorkSpan& span, const memory::PageBitmap* dirty, const Emit& emit) {
    if (dirty != nullptr) return scan_dirty(span, *dirty, emit);
    extents_.clear();
    if (options_.skip_unpopulated) {
        MIGRATE_TRY(source_.population(span.region, span.pages, extents_));
    } else {
        extents_.push_back({span.pages, true});
    }
    for (const memory::PopulationExtent& extent : extents_) {
        MIGRATE_TRY(extent.populated
                        ? scan_ranges(span.region, std::span(&extent.pages, 1), emit)
                        : emit_run(span.region, extent.pages, PageKind::kUnpopulated, emit));
    }
    return {};
}

Status SpanScanner::scan_dirty(const WorkSpan& span, const memory::PageBitmap& dirty,
                               const Emit& emit) {
    ranges_.clear();
    const std::uint64_t end = span.pages.end();
    for (std::uint64_t page = dirty.find(span.pages.first, end, true); page < end;) {
        const std::uint64_t clean = dirty.find(page, end, false);
        ranges_.push_back({page, clean - page});
        page = dirty.find(clean, end, true);
    }
    return scan_ranges(span.region, ranges_, emit);
}

// Batches of up to batch_pages pages, as many of them under way as the scanner takes.
Status SpanScanner::scan_ranges(RegionId region, std::span<const PageRange> ranges,
                                const Emit& emit) {
    std::vector<PageRange> batch;
    std::uint64_t batched = 0;
    const auto flush = [&]() -> Status {
        if (batched == 0) return {};
        if (outstanding_ == in_flight_.size()) MIGRATE_TRY(collect(region, emit));
        MIGRATE_TRY(submit(region, batch));
        batch.clear();
        batched = 0;
        return {};
    };
    for (PageRange range : ranges) {
        while (range.count != 0) {
            const PageRange part{range.first,
                                 std::min(options_.batch_pages - batched, range.count)};
            range = {part.end(), range.count - part.count};
            if (prefaults_) MIGRATE_TRY(source_.prefault(region, part));
            if (!scanner_) {
                MIGRATE_TRY(emit_run(region, part, PageKind::kNormal, emit));
                continue;
            }
            batch.push_back(part);
            batched += part.count;
            if (batched == options_.batch_pages) MIGRATE_TRY(flush());
        }
    }
    MIGRATE_TRY(flush());
    return drain(region, emit);
}

Status SpanScanner::drain(RegionId region, const Emit& emit) {
    while (outstanding_ != 0) MIGRATE_TRY(collect(region, emit));
    return {};
}

Status SpanScanner::submit(RegionId region, std::span<const PageRange> ranges) {
    submitted_.clear();
    for (const PageRange& range : ranges) {
        submitted_.push_back({source_.memory(region).data() + range.offset_bytes(),
                              static_cast<std::uint32_t>(range.count)});
    }
    scanner_->submit(submitted_);
    in_flight_[(oldest_ + outstanding_) % in_flight_.size()].ranges.assign(ranges.begin(),
                                                                           ranges.end());
    ++outstanding_;
    return {};
}

Status SpanScanner::collect(RegionId region, const Emit& emit) {
    Batch& batch = in_flight_[oldest_];
    Status collected;
    MIGRATE_TRY(memory::guard_reads(source_.description(),
                                    [&] { collected = scanner_->collect(batch.zero_map); }));
    MIGRATE_TRY(std::move(collected));
    oldest_ = (oldest_ + 1) % in_flight_.size();
    --outstanding_;

    std::uint64_t index = 0;  // of a page in the batch
    const auto next_kind = [&] {
        const bool zero = (batch.zero_map[index / 64] >> (index % 64) & 1) != 0;
        ++index;
        const bool forced = ratio_.active() && ratio_.force_normal();
        return zero && !forced ? PageKind::kZero : PageKind::kNormal;
    };
    for (const PageRange& range : batch.ranges) {
        std::uint64_t begin = range.first;
        PageKind kind = next_kind();
        for (std::uint64_t page = range.first + 1; page < range.end(); ++page) {
            const PageKind next = next_kind();
            if (next == kind) continue;
            MIGRATE_TRY(emit_run(region, {begin, page - begin}, kind, emit));
            begin = page;
            kind = next;
        }
        MIGRATE_TRY(emit_run(region, {begin, range.end() - begin}, kind, emit));
    }
    return {};
}

Status SpanScanner::emit_run(RegionId region, PageRange pages, PageKind kind, const Emit& emit) {
    return emit(region, {pages, kind}, source_.memory(region).data() + pages.offset_bytes());
}

}  // namespace migrate::engine
