#include "memory/sink/page_placer.hpp"

namespace migrate::memory {
namespace {

// Shortest run that is populated in one step: for longer runs that is cheaper than the faults of
// the writes, for shorter ones the step costs more than it saves. Measured with a fresh tmpfs file
// and half of the pages in runs of 1 and 2: the receiver's CPU time is 2.5 s with faults and 3.0 s
// with a step for each run.
constexpr std::uint64_t kWorthPopulatingPages = 16;

// A worker's next destination often continues the last one.
void append_destination(std::span<std::byte> bytes, std::vector<iovec>& payload) {
    if (!payload.empty()) {
        iovec& last = payload.back();
        if (static_cast<std::byte*>(last.iov_base) + last.iov_len == bytes.data()) {
            last.iov_len += bytes.size();
            return;
        }
    }
    payload.push_back({bytes.data(), bytes.size()});
}

}  // namespace

Result<std::unique_ptr<PagePlacer>> PagePlacer::create(PageSink& sink,
                                                       std::span<const RegionInfo> regions,
                                                       unsigned helpers,
                                                       Prefaulter::RunHelper run_helper) {
    std::vector<Region> states;
    states.reserve(regions.size());
    for (const RegionInfo& info : regions) {
        MIGRATE_ASSIGN(PageBitmap seen, PageBitmap::create(info.pages()));
        MIGRATE_ASSIGN(PageBitmap placed, PageBitmap::create(info.pages()));
        states.push_back({info, std::move(seen), std::move(placed)});
    }
    auto prefaulter =
        std::make_unique<Prefaulter>(sink, sink.discards() ? 0 : helpers, std::move(run_helper));
    return std::unique_ptr<PagePlacer>(
        new PagePlacer(sink, std::move(states), std::move(prefaulter)));
}

PagePlacer::PagePlacer(PageSink& sink, std::vector<Region> regions,
                       std::unique_ptr<Prefaulter> prefaulter)
    : sink_(sink), regions_(std::move(regions)), prefaulter_(std::move(prefaulter)) {}

Status PagePlacer::accept(RegionId id, std::span<const PageRun> runs, WrittenBy writer,
                          std::vector<iovec>& payload) {
    MIGRATE_TRY(sink_.check_sole_use());
    Region& region = regions_[index_of(id)];
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
            continue;
        }
        const std::uint64_t placed_before = region.placed.set(run.pages);
        if (sink_.discards()) continue;
        if (placed_before < run.pages.count && run.pages.count >= worth) {
            fresh.push_back(run.pages);
        }
        append_destination(
            sink_.memory(id).subspan(run.pages.offset_bytes(), run.pages.size_bytes()), payload);
    }
    return prefaulter_->populate(id, fresh);
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

}  // namespace migrate::memory
