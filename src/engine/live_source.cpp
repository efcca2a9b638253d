#include "engine/live_source.hpp"

#include <utility>

#include "base/log.hpp"

namespace migrate::engine {

using Clock = std::chrono::steady_clock;

namespace {

// One a region.
Result<std::vector<memory::PageBitmap>> make_bitmaps(const memory::PageSource& memory) {
    std::vector<memory::PageBitmap> bitmaps;
    for (const RegionInfo& region : memory.regions()) {
        MIGRATE_ASSIGN(memory::PageBitmap bitmap, memory::PageBitmap::create(region.pages()));
        bitmaps.push_back(std::move(bitmap));
    }
    return bitmaps;
}

}  // namespace

LiveSource::LiveSource(guest::Guest& guest, const memory::PageSource& memory,
                       std::unique_ptr<memory::DirtyTracker> tracker,
                       std::vector<memory::PageBitmap> dirty)
    : guest_(guest), memory_(memory), tracker_(std::move(tracker)), dirty_(std::move(dirty)) {}

LiveSource::~LiveSource() { static_cast<void>(give_back()); }

Result<std::unique_ptr<LiveSource>> LiveSource::create(guest::Guest& guest,
                                                       const memory::PageSource& memory,
                                                       std::string_view tracker) {
    MIGRATE_ASSIGN(auto made, memory::make_dirty_tracker(tracker, memory));
    MIGRATE_ASSIGN(auto dirty, make_bitmaps(memory));
    return std::unique_ptr<LiveSource>(
        new LiveSource(guest, memory, std::move(made), std::move(dirty)));
}

Status LiveSource::watch_given_back() {
    MIGRATE_ASSIGN(content_, make_bitmaps(memory_));
    return {};
}

void LiveSource::note_sent(RegionId region, const PageRun& run) {
    if (run.kind != PageKind::kNormal && tracker_->needs_sent()) {
        tracker_->sent(region, run.pages, {});
    }
    if (content_.empty()) return;
    if (run.kind == PageKind::kNormal) {
        content_[index_of(region)].set(run.pages);
    } else {
        content_[index_of(region)].clear(run.pages);
    }
}

Status LiveSource::start() { return tracker_->start(); }

Status LiveSource::collect() {
    const Clock::time_point began = Clock::now();
    for (memory::PageBitmap& bitmap : dirty_) bitmap.reset();
    MIGRATE_TRY(tracker_->collect(dirty_));
    collect_time_ = std::chrono::ceil<std::chrono::microseconds>(Clock::now() - began);
    count_dirty();
    return {};
}

Status LiveSource::collect_more() {
    MIGRATE_TRY(tracker_->collect(dirty_));
    if (!content_.empty()) MIGRATE_TRY(collect_given_back());
    count_dirty();
    return {};
}

Status LiveSource::collect_given_back() {
    MIGRATE_ASSIGN(given_back_, make_bitmaps(memory_));
    memory_.look_again();
    std::vector<memory::PopulationExtent> extents;
    for (std::size_t i = 0; i < given_back_.size(); ++i) {
        extents.clear();
        MIGRATE_TRY(
            memory_.population(static_cast<RegionId>(i), {0, given_back_[i].pages()}, extents));
        for (const memory::PopulationExtent& extent : extents) {
            if (extent.populated) continue;
            given_back_[i].set(extent.pages);
            add_content(i, extent.pages);
        }
    }
    return {};
}

void LiveSource::add_content(std::size_t region, PageRange pages) {
    const memory::PageBitmap& content = content_[region];
    std::uint64_t page = content.find(pages.first, pages.end(), true);
    while (page < pages.end()) {
        const std::uint64_t end = content.find(page, pages.end(), false);
        dirty_[region].set({page, end - page});
        page = content.find(end, pages.end(), true);
    }
}

void LiveSource::count_dirty() {
    dirty_pages_ = 0;
    for (const memory::PageBitmap& bitmap : dirty_) {
        dirty_pages_ += bitmap.count({0, bitmap.pages()});
    }
}

Status LiveSource::throttle(unsigned percent) {
    if (percent == throttle_) return {};
    MIGRATE_TRY(guest_.throttle(percent));
    throttle_ = percent;
    return {};
}

Status LiveSource::pause() { return guest_.pause(); }

Status LiveSource::give_back() {
    if (std::exchange(ended_, true)) return {};
    const auto put_back = [](std::string_view what, const Status& status) {
        if (!status) log::error("cannot {} the guest: {}", what, status.error().message());
    };
    Status resumed = handed_over_ ? Status() : guest_.resume();
    put_back("resume", resumed);
    tracker_->stop();
    if (throttle_ != 0) put_back("unthrottle", throttle(0));
    return resumed;
}

}  // namespace migrate::engine
