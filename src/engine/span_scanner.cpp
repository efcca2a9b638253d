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

Status SpanScanner::scan(const WorkSpan& span, const Emit& emit) {
    extents_.clear();
    if (options_.skip_unpopulated) {
        MIGRATE_TRY(source_.population(span.region, span.pages, extents_));
    } else {
        extents_.push_back({span.pages, true});
    }
    for (const memory::PopulationExtent& extent : extents_) {
        if (!extent.populated) {
            MIGRATE_TRY(emit_run(span.region, extent.pages, PageKind::kUnpopulated, emit));
        } else {
            MIGRATE_TRY(scan_populated(span.region, extent.pages, emit));
        }
    }
    return {};
}

Status SpanScanner::scan_populated(RegionId region, PageRange pages, const Emit& emit) {
    std::uint64_t next = pages.first;
    while (next < pages.end() || outstanding_ != 0) {
        if (next < pages.end() && (!scanner_ || outstanding_ < in_flight_.size())) {
            const PageRange batch{next, std::min(options_.batch_pages, pages.end() - next)};
            if (prefaults_) MIGRATE_TRY(source_.prefault(region, batch));
            next = batch.end();
            if (!scanner_) {
                MIGRATE_TRY(emit_run(region, batch, PageKind::kNormal, emit));
                continue;
            }
            MIGRATE_TRY(submit(region, batch));
            continue;
        }
        MIGRATE_TRY(collect(region, emit));
    }
    return {};
}

Status SpanScanner::submit(RegionId region, PageRange pages) {
    const accel::PageExtent extent{source_.memory(region).data() + pages.offset_bytes(),
                                   static_cast<std::uint32_t>(pages.count)};
    scanner_->submit(std::span(&extent, 1));
    in_flight_[(oldest_ + outstanding_) % in_flight_.size()].pages = pages;
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

    const auto kind_of = [&](std::uint64_t index) {
        const bool zero = (batch.zero_map[index / 64] >> (index % 64) & 1) != 0;
        const bool forced = ratio_.active() && ratio_.force_normal();
        return zero && !forced ? PageKind::kZero : PageKind::kNormal;
    };
    std::uint64_t begin = 0;
    PageKind kind = kind_of(0);
    for (std::uint64_t i = 1; i < batch.pages.count; ++i) {
        const PageKind next = kind_of(i);
        if (next == kind) continue;
        MIGRATE_TRY(emit_run(region, {batch.pages.first + begin, i - begin}, kind, emit));
        begin = i;
        kind = next;
    }
    return emit_run(region, {batch.pages.first + begin, batch.pages.count - begin}, kind, emit);
}

Status SpanScanner::emit_run(RegionId region, PageRange pages, PageKind kind, const Emit& emit) {
    return emit(region, {pages, kind}, source_.memory(region).data() + pages.offset_bytes());
}

}  // namespace migrate::engine
