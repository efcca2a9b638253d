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

Status SpanScanner::scan(const WorkSpan& span, const DirtyPages& dirty, const Emit& emit) {
    extents_.clear();
    if (dirty.written != nullptr) {
        add_dirty(span, dirty);
    } else if (options_.skip_unpopulated) {
        MIGRATE_TRY(source_.population(span.region, span.pages, extents_));
    } else {
        extents_.push_back({span.pages, true});
    }
    return scanner_ ? scan_extents(span.region, emit) : send_unscanned(span.region, emit);
}

void SpanScanner::add_dirty(const WorkSpan& span, const DirtyPages& dirty) {
    const std::uint64_t end = span.pages.end();
    std::uint64_t page = dirty.written->find(span.pages.first, end, true);
    while (page < end) {
        std::uint64_t next = dirty.written->find(page, end, false);
        bool populated = true;
        if (dirty.given_back != nullptr) {
            populated = !dirty.given_back->test(page);
            next = dirty.given_back->find(page, next, populated);
        }
        extents_.push_back({{page, next - page}, populated});
        page = dirty.written->find(next, end, true);
    }
}

Status SpanScanner::send_unscanned(RegionId region, const Emit& emit) {
    for (const memory::PopulationExtent& extent : extents_) {
        PageRange rest = extent.pages;
        while (rest.count != 0) {
            const PageRange part{rest.first, extent.populated
                                                 ? std::min(options_.batch_pages, rest.count)
                                                 : rest.count};
            rest = {part.end(), rest.count - part.count};
            if (extent.populated && prefaults_) MIGRATE_TRY(source_.prefault(region, part));
            MIGRATE_TRY(emit_run(
                region, part, extent.populated ? PageKind::kNormal : PageKind::kUnpopulated, emit));
        }
    }
    return {};
}

// Batches of up to batch_pages pages, as many of them under way as the scanner takes.
Status SpanScanner::scan_extents(RegionId region, const Emit& emit) {
    for (const memory::PopulationExtent& extent : extents_) {
        if (!extent.populated) {
            filling_.push_back(extent);
            continue;
        }
        PageRange rest = extent.pages;
        while (rest.count != 0) {
            const PageRange part{rest.first,
                                 std::min(options_.batch_pages - to_check_, rest.count)};
            rest = {part.end(), rest.count - part.count};
            if (prefaults_) MIGRATE_TRY(source_.prefault(region, part));
            filling_.push_back({part, true});
            to_check_ += part.count;
            if (to_check_ == options_.batch_pages) MIGRATE_TRY(flush(region, emit));
        }
    }
    return flush(region, emit);
}

// Submits what was filled in.
Status SpanScanner::flush(RegionId region, const Emit& emit) {
    if (filling_.empty()) return {};
    if (to_check_ == 0) {
        MIGRATE_TRY(finish(emit));
        for (const memory::PopulationExtent& extent : filling_)
            MIGRATE_TRY(emit_run(region, extent.pages, PageKind::kUnpopulated, emit));
        filling_.clear();
        return {};
    }
    if (outstanding_ == in_flight_.size()) MIGRATE_TRY(collect(emit));
    submitted_.clear();
    for (const memory::PopulationExtent& extent : filling_) {
        if (!extent.populated) continue;
        submitted_.push_back({source_.memory(region).data() + extent.pages.offset_bytes(),
                              static_cast<std::uint32_t>(extent.pages.count)});
    }
    scanner_->submit(submitted_);
    Batch& batch = in_flight_[(oldest_ + outstanding_) % in_flight_.size()];
    batch.region = region;
    batch.extents.swap(filling_);
    filling_.clear();
    to_check_ = 0;
    ++outstanding_;
    return {};
}

Status SpanScanner::finish(const Emit& emit) {
    while (outstanding_ != 0) MIGRATE_TRY(collect(emit));
    return {};
}

Status SpanScanner::collect(const Emit& emit) {
    Batch& batch = in_flight_[oldest_];
    const RegionId region = batch.region;
    MIGRATE_TRY(scanner_->await());
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
    for (const auto& [range, populated] : batch.extents) {
        if (!populated) {
            MIGRATE_TRY(emit_run(region, range, PageKind::kUnpopulated, emit));
            continue;
        }
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
