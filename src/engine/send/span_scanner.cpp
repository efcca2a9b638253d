// SPDX-License-Identifier: Apache-2.0
#include "engine/send/span_scanner.hpp"

#include <algorithm>

#include "base/fault_guard.hpp"

namespace migrate::engine {
namespace {

Status prefault(const memory::PageSource& source, PrefaultedPages* known, RegionId region,
                PageRange range) {
    if (known == nullptr) return source.prefault(region, range);
    return known->prefault(source, region, range);
}

}  // namespace

SpanScanner::SpanScanner(const memory::PageSource& source,
                         std::unique_ptr<accel::PageScanner> scanner, const Options& options)
    : source_(source),
      scanner_(std::move(scanner)),
      options_(options),
      may_be_absent_(!options.skip_unpopulated || !source.populated_is_present()),
      ratio_(options.normal_page_ratio) {
    if (!scanner_) return;
    in_flight_.resize(scanner_->depth());
    for (Batch& batch : in_flight_) batch.zero_map.resize((options_.batch_pages + 63) / 64);
}

void SpanScanner::stage(Mapping staging, bool reads_mapped) {
    staging_ = {.memory = std::move(staging), .of_mapped = reads_mapped};
    if (scanner_ && reads_mapped) in_flight_.resize(1);
}

bool SpanScanner::reads(RegionId region) const {
    return staging_.memory && (staging_.of_mapped || !source_.is_mapped(region));
}

std::uint64_t SpanScanner::batch_pages(RegionId region) const {
    return reads(region) ? std::min(options_.batch_pages, kStagedPages) : options_.batch_pages;
}

Status SpanScanner::scan(const WorkSpan& span, const PlannedPages& planned, RunSink& sink) {
    extents_.clear();
    // Pages that the guest has written in this process are present.
    const bool known_present = planned.written != nullptr && source_.populated_is_present();
    prefaults_ = may_be_absent_ && !known_present;
    if (planned.written != nullptr) {
        add_written(span, planned);
    } else {
        MIGRATE_TRY(add_populated(span, planned));
    }
    return scanner_ ? scan_extents(span.region, sink) : send_unscanned(span.region, sink);
}

void SpanScanner::add_written(const WorkSpan& span, const PlannedPages& planned) {
    const std::uint64_t end = span.pages.end();
    std::uint64_t page = planned.next_planned(span.pages.first, end);
    while (page < end) {
        std::uint64_t next = planned.next_unplanned(page, end);
        bool populated = true;
        if (planned.given_back != nullptr) {
            populated = !planned.given_back->test(page);
            next = planned.given_back->find(page, next, populated);
        }
        extents_.push_back({{page, next - page}, populated});
        if (!populated && options_.prefaulted != nullptr)
            options_.prefaulted->forget(span.region, {page, next - page});
        page = planned.next_planned(next, end);
    }
}

Status SpanScanner::add_populated(const WorkSpan& span, const PlannedPages& planned) {
    const std::uint64_t end = span.pages.end();
    std::uint64_t page = planned.next_planned(span.pages.first, end);
    while (page < end) {
        const std::uint64_t next = planned.next_unplanned(page, end);
        const PageRange part{page, next - page};
        if (options_.skip_unpopulated || source_.reading_fills_holes()) {
            MIGRATE_TRY(source_.population(span.region, part, extents_));
        } else {
            extents_.push_back({part, true});
        }
        page = planned.next_planned(next, end);
    }
    return {};
}

Status SpanScanner::send_unscanned(RegionId region, RunSink& sink) {
    const bool staged = reads(region);
    const std::uint64_t step = batch_pages(region);
    for (const memory::PopulationExtent& extent : extents_) {
        PageRange rest = extent.pages;
        while (rest.count != 0) {
            const PageRange part{rest.first,
                                 extent.populated ? std::min(step, rest.count) : rest.count};
            rest = {part.end(), rest.count - part.count};
            const std::byte* content = nullptr;
            if (extent.populated && staged) {
                MIGRATE_TRY(make_room(part.count, sink));
                content = staging_.memory.data() + staging_.used;
                MIGRATE_TRY(read_staged(region, part));
            } else if (extent.populated) {
                if (prefaults_) MIGRATE_TRY(prefault(source_, options_.prefaulted, region, part));
                content = source_.memory(region).data() + part.offset_bytes();
            }
            const PageKind kind = extent.populated ? PageKind::kNormal : PageKind::kUnpopulated;
            MIGRATE_TRY(sink.add(region, {part, kind}, content));
        }
    }
    return {};
}

// Scans in batches of up to batch_pages pages, with as many in flight as the scanner takes.
Status SpanScanner::scan_extents(RegionId region, RunSink& sink) {
    const bool prefaults = prefaults_ && !reads(region);
    const std::uint64_t batch = batch_pages(region);
    for (const memory::PopulationExtent& extent : extents_) {
        if (!extent.populated) {
            filling_.push_back(extent);
            continue;
        }
        PageRange rest = extent.pages;
        while (rest.count != 0) {
            const PageRange part{rest.first, std::min(batch - to_check_, rest.count)};
            rest = {part.end(), rest.count - part.count};
            if (prefaults) MIGRATE_TRY(prefault(source_, options_.prefaulted, region, part));
            filling_.push_back({part, true});
            to_check_ += part.count;
            if (to_check_ == batch) MIGRATE_TRY(flush(region, sink));
        }
    }
    return flush(region, sink);
}

// Submits the batch that was filled in.
Status SpanScanner::flush(RegionId region, RunSink& sink) {
    if (filling_.empty()) return {};
    if (to_check_ == 0) {
        MIGRATE_TRY(finish(sink));
        for (const memory::PopulationExtent& extent : filling_)
            MIGRATE_TRY(sink.add(region, {extent.pages, PageKind::kUnpopulated}, nullptr));
        filling_.clear();
        return {};
    }
    if (outstanding_ == in_flight_.size()) MIGRATE_TRY(collect(sink));
    const bool staged = reads(region);
    if (staged) {
        // One staged batch at a time: collect() takes back the room of the zeros at its end.
        MIGRATE_TRY(finish(sink));
        MIGRATE_TRY(make_room(to_check_, sink));
    }
    Batch& batch = in_flight_[(oldest_ + outstanding_) % in_flight_.size()];
    batch.region = region;
    batch.extents.swap(filling_);
    batch.staged = nullptr;
    filling_.clear();
    submitted_.clear();
    if (staged) {
        MIGRATE_TRY(read_batch(region, batch));
        submitted_.push_back({batch.staged, static_cast<std::uint32_t>(to_check_)});
    } else {
        for (const memory::PopulationExtent& extent : batch.extents) {
            if (!extent.populated) continue;
            submitted_.push_back({source_.memory(region).data() + extent.pages.offset_bytes(),
                                  static_cast<std::uint32_t>(extent.pages.count)});
        }
    }
    MIGRATE_TRY(guard_reads(source_.description(), [&] { scanner_->look_first(submitted_); }));
    scanner_->submit(submitted_);
    to_check_ = 0;
    ++outstanding_;
    return {};
}

// Makes room to stage so many pages.
Status SpanScanner::make_room(std::uint64_t pages, RunSink& sink) {
    if (staging_.used + pages * kPageSize <= staging_.memory.size()) return {};
    MIGRATE_TRY(finish(sink));
    MIGRATE_TRY(sink.release());
    staging_.used = 0;
    return {};
}

Status SpanScanner::read_staged(RegionId region, PageRange pages) {
    MIGRATE_TRY(source_.read(region, pages, staging_.memory.data() + staging_.used));
    staging_.used += pages.size_bytes();
    return {};
}

Status SpanScanner::read_batch(RegionId region, Batch& batch) {
    std::byte* const begin = staging_.memory.data() + staging_.used;
    for (const memory::PopulationExtent& extent : batch.extents) {
        if (extent.populated) MIGRATE_TRY(read_staged(region, extent.pages));
    }
    batch.staged = begin;
    return {};
}

Status SpanScanner::finish(RunSink& sink) {
    while (outstanding_ != 0) MIGRATE_TRY(collect(sink));
    return {};
}

Status SpanScanner::restart() {
    filling_.clear();
    to_check_ = 0;
    while (outstanding_ != 0) MIGRATE_TRY(take_answer());
    staging_.used = 0;
    return {};
}

// Takes the answer for the oldest batch into its zero_map.
Status SpanScanner::take_answer() {
    Batch& batch = in_flight_[oldest_];
    MIGRATE_TRY(scanner_->await());
    Status collected;
    MIGRATE_TRY(
        guard_reads(source_.description(), [&] { collected = scanner_->collect(batch.zero_map); }));
    MIGRATE_TRY(std::move(collected));
    oldest_ = (oldest_ + 1) % in_flight_.size();
    --outstanding_;
    return {};
}

Status SpanScanner::collect(RunSink& sink) {
    const Batch& batch = in_flight_[oldest_];
    const RegionId region = batch.region;
    MIGRATE_TRY(take_answer());

    std::uint64_t index = 0;                   // index of the page in the batch
    const std::byte* used_end = batch.staged;  // end of the content that the sink got
    const auto next_kind = [&] {
        const bool zero = (batch.zero_map[index / 64] >> (index % 64) & 1) != 0;
        ++index;
        const bool forced = ratio_.active() && ratio_.force_normal();
        return zero && !forced ? PageKind::kZero : PageKind::kNormal;
    };
    for (const auto& [range, populated] : batch.extents) {
        if (!populated) {
            MIGRATE_TRY(sink.add(region, {range, PageKind::kUnpopulated}, nullptr));
            continue;
        }
        const std::byte* content = batch.staged != nullptr
                                       ? batch.staged + index * kPageSize
                                       : source_.memory(region).data() + range.offset_bytes();
        std::uint64_t begin = range.first;
        PageKind kind = next_kind();
        for (std::uint64_t page = range.first + 1; page <= range.end(); ++page) {
            const bool last = page == range.end();
            const PageKind next = last ? kind : next_kind();
            if (next == kind && !last) continue;
            const PageRange run{begin, page - begin};
            MIGRATE_TRY(sink.add(region, {run, kind}, content));
            content += run.size_bytes();
            if (kind == PageKind::kNormal) used_end = content;
            begin = page;
            kind = next;
        }
    }
    // The next batch overwrites the zeros at the end, which stay in the nearest caches that way.
    if (batch.staged != nullptr) {
        staging_.used = static_cast<std::uint64_t>(used_end - staging_.memory.data());
    }
    return {};
}

}  // namespace migrate::engine
