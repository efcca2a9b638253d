// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/page_placer.hpp"

#include <cstring>

#include "base/fault_guard.hpp"
#include "base/page_buffer.hpp"

namespace migrate::memory {
namespace {

// Shortest run that is populated in one step: for longer runs that is cheaper than the faults of
// the writes, for shorter ones the step costs more than it saves. Measured with a fresh tmpfs file
// and half of the pages in runs of 1 and 2: the receiver's CPU time is 2.5 s with faults and 3.0 s
// with a step for each run.
constexpr std::uint64_t kWorthPopulatingPages = 16;

// A worker's next destination often continues the last one.
void append_part(std::span<std::byte> bytes, std::vector<iovec>& parts) {
    if (!parts.empty()) {
        iovec& last = parts.back();
        if (static_cast<std::byte*>(last.iov_base) + last.iov_len == bytes.data()) {
            last.iov_len += bytes.size();
            return;
        }
    }
    parts.push_back({bytes.data(), bytes.size()});
}

void append_staged(PageRange pages, std::span<std::byte> content, Destinations& to) {
    if (!to.staged.empty()) {
        Destinations::Staged& last = to.staged.back();
        if (last.pages.end() == pages.first) {
            last.pages.count += pages.count;
            last.content = {last.content.data(), last.content.size() + content.size()};
            return;
        }
    }
    to.staged.push_back({pages, content});
}

// Makes the beginning of the buffer the destination of the pages; fill() takes them from there.
void stage(PageRange pages, std::span<std::byte>& buffer, Destinations& to) {
    const std::span<std::byte> content = buffer.first(pages.size_bytes());
    buffer = buffer.subspan(pages.size_bytes());
    append_part(content, to.parts);
    append_staged(pages, content, to);
}

}  // namespace

Status copy_to_parts(std::span<const std::byte> content, std::span<const iovec> parts) {
    return guard_writes("the sink", [&] {
        const std::byte* from = content.data();
        for (const iovec& part : parts) {
            std::memcpy(part.iov_base, from, part.iov_len);
            from += part.iov_len;
        }
    });
}

Result<std::unique_ptr<PagePlacer>> PagePlacer::create(PageSink& sink,
                                                       std::span<const RegionInfo> regions,
                                                       unsigned helpers,
                                                       Prefaulter::RunHelper run_helper,
                                                       Placement wanted) {
    MIGRATE_ASSIGN(PlacementPlan plan, plan_placement(sink, regions.size(), wanted));
    return create(sink, regions, helpers, std::move(run_helper), std::move(plan));
}

Result<std::unique_ptr<PagePlacer>> PagePlacer::create(PageSink& sink,
                                                       std::span<const RegionInfo> regions,
                                                       unsigned helpers,
                                                       Prefaulter::RunHelper run_helper,
                                                       PlacementPlan plan) {
    std::vector<Region> states;
    states.reserve(regions.size());
    for (const RegionInfo& info : regions) {
        MIGRATE_ASSIGN(PageBitmap seen, PageBitmap::create(info.pages()));
        MIGRATE_ASSIGN(PageBitmap placed, PageBitmap::create(info.pages()));
        // The sink's own content of before counts as placed: zeros must be written over it.
        MIGRATE_TRY(sink.find_content(static_cast<RegionId>(states.size()), placed));
        states.push_back({info, std::move(seen), std::move(placed)});
    }
    auto prefaulter =
        std::make_unique<Prefaulter>(sink, sink.discards() ? 0 : helpers, std::move(run_helper));
    return std::unique_ptr<PagePlacer>(
        new PagePlacer(sink, std::move(states), std::move(prefaulter), std::move(plan)));
}

PagePlacer::PagePlacer(PageSink& sink, std::vector<Region> regions,
                       std::unique_ptr<Prefaulter> prefaulter, PlacementPlan plan)
    : sink_(sink),
      regions_(std::move(regions)),
      prefaulter_(std::move(prefaulter)),
      plan_(std::move(plan)) {}

Status PagePlacer::accept(RegionId id, std::span<const PageRun> runs, WrittenBy writer,
                          std::span<std::byte> buffer, Destinations& to) {
    MIGRATE_TRY(sink_.check_sole_use());
    to.clear();
    Region& region = regions_[index_of(id)];
    const bool written = !sink_.discards() && !sink_.is_mapped(id);
    const bool staged = plan_.regions[index_of(id)].placement == Placement::kUffdCopy;
    const bool may_fault = writer == WrittenBy::kSystemCall && !prefaulter_->has_helpers();
    const std::uint64_t worth = may_fault ? kWorthPopulatingPages : 1;
    std::vector<PageRange> fresh;
    for (const PageRun& run : runs) {
        // This lookup only finds the page for the message; set() decides.
        const std::uint64_t twice = region.seen.find(run.pages.first, run.pages.end(), true);
        if (region.seen.set(run.pages) != 0) {
            return make_error(ErrorKind::kProtocol,
                              "page {} of the region '{}' came twice in one round",
                              twice == run.pages.end() ? run.pages.first : twice, region.info.name);
        }
        if (run.kind != PageKind::kNormal) {
            MIGRATE_TRY(place_zero(id, region, run.pages));
        } else if (written) {
            region.placed.set(run.pages);
            stage(run.pages, buffer, to);
        } else if (staged) {
            place_staged(id, region, run.pages, buffer, to);
        } else if (place_directly(id, region, run.pages, to) && run.pages.count >= worth) {
            fresh.push_back(run.pages);
        }
    }
    return prefaulter_->populate(id, fresh);
}

bool PagePlacer::place_directly(RegionId id, Region& region, PageRange pages,
                                Destinations& to) const {
    const std::uint64_t placed_before = region.placed.set(pages);
    if (sink_.discards()) return false;
    append_part(sink_.memory(id).subspan(pages.offset_bytes(), pages.size_bytes()), to.parts);
    return placed_before < pages.count;
}

void PagePlacer::place_staged(RegionId id, Region& region, PageRange pages,
                              std::span<std::byte>& buffer, Destinations& to) const {
    for (std::uint64_t first = pages.first; first < pages.end();) {
        const bool placed = region.placed.test(first);
        const std::uint64_t end = region.placed.find(first, pages.end(), !placed);
        const PageRange part{first, end - first};
        first = end;
        if (placed) {
            append_part(sink_.memory(id).subspan(part.offset_bytes(), part.size_bytes()), to.parts);
            continue;
        }
        stage(part, buffer, to);
    }
    region.placed.set(pages);
}

Status PagePlacer::fill_part(RegionId id, const Destinations::Staged& staged,
                             PageRange pages) const {
    const auto content =
        staged.content.subspan((pages.first - staged.pages.first) * kPageSize, pages.size_bytes());
    if (!sink_.is_mapped(id)) return sink_.write(id, pages, content);
    const auto memory = sink_.memory(id).subspan(pages.offset_bytes(), pages.size_bytes());
    const int code = plan_.filler->fill(memory, content);
    return code == 0 ? Status() : sink_.explain(id, pages, code);
}

Status PagePlacer::fill(RegionId id, const Destinations& to) {
    if (!prefaulter_->has_helpers()) {
        for (const Destinations::Staged& staged : to.staged) {
            MIGRATE_TRY(fill_part(id, staged, staged.pages));
        }
        return {};
    }
    if (to.staged.empty()) return {};
    std::vector<PageRange> ranges;
    ranges.reserve(to.staged.size());
    for (const Destinations::Staged& staged : to.staged) ranges.push_back(staged.pages);
    return prefaulter_->share(ranges, [&](const Prefaulter::Piece& piece) {
        return fill_part(id, to.staged[piece.range], piece.pages);
    });
}

Status PagePlacer::place(RegionId id, PageRange pages, std::span<const std::byte> content) {
    const PageRun run{pages, PageKind::kNormal};
    PageBuffer buffer(needs_buffer() ? content.size() : 0);
    Destinations to;
    MIGRATE_TRY(accept(id, std::span(&run, 1), WrittenBy::kProgram, buffer, to));
    MIGRATE_TRY(copy_to_parts(content, to.parts));
    MIGRATE_TRY(fill(id, to));
    complete(id, std::span(&run, 1));
    return {};
}

Status PagePlacer::keep(RegionId id, PageRange pages) {
    Region& region = regions_[index_of(id)];
    if (region.seen.set(pages) != 0) {
        return make_error(ErrorKind::kProtocol,
                          "pages of the region '{}' from {} on came twice before the first round",
                          region.info.name, pages.first);
    }
    region.placed.set(pages);
    return {};
}

// Pages that are received in place may have a part of the content, so they stay placed. A page that
// fill() was to allocate has no memory: it is fresh again, so that the next content is not received
// in place.
void PagePlacer::withdraw(RegionId id, std::span<const PageRun> runs, const Destinations& to) {
    Region& region = regions_[index_of(id)];
    if (plan_.regions[index_of(id)].placement == Placement::kUffdCopy) {
        for (const Destinations::Staged& staged : to.staged) region.placed.clear(staged.pages);
    }
    for (const PageRun& run : runs) region.seen.clear(run.pages);
}

Error PagePlacer::explain(RegionId id, std::span<const PageRun> runs, Error fault) const {
    for (const PageRun& run : runs) {
        if (run.kind != PageKind::kNormal) continue;
        Status prefaulted = sink_.prefault(id, run.pages);
        if (!prefaulted) return std::move(prefaulted).error();
    }
    return fault;
}

Status PagePlacer::place_zero(RegionId id, Region& region, PageRange pages) {
    for (std::uint64_t page = region.placed.find(pages.first, pages.end(), true);
         page < pages.end();) {
        const std::uint64_t end = region.placed.find(page, pages.end(), false);
        const PageRange stale{page, end - page};
        MIGRATE_TRY(sink_.clear(id, stale));
        region.placed.clear(stale);
        page = region.placed.find(end, pages.end(), true);
    }
    return {};
}

Status PagePlacer::finish_full_round() {
    for (Region& region : regions_) {
        const std::uint64_t pages = region.info.pages();
        const std::uint64_t missing = region.seen.find(0, pages, false);
        if (missing != pages) {
            return make_error(ErrorKind::kProtocol, "page {} of the region '{}' never came",
                              missing, region.info.name);
        }
        region.seen.reset();
    }
    return {};
}

Status PagePlacer::finish_round(std::uint64_t pages) {
    std::uint64_t came = 0;
    for (Region& region : regions_) {
        came += region.seen.count({0, region.info.pages()});
        region.seen.reset();
    }
    if (came == pages) return {};
    return make_error(ErrorKind::kProtocol, "{} pages came in a round of {}", came, pages);
}

void PagePlacer::resume_rounds() {
    if (plan_.filler) return;
    for (PlacementChoice& choice : plan_.regions) {
        if (choice.placement != Placement::kUffdCopy) continue;
        choice = {Placement::kInPlace, "its memory was released for a switchover that broke off"};
    }
}

}  // namespace migrate::memory
