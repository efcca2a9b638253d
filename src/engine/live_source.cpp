#include "engine/live_source.hpp"

#include "base/log.hpp"

namespace migrate::engine {

using Clock = std::chrono::steady_clock;

LiveSource::LiveSource(guest::Guest& guest, std::unique_ptr<memory::DirtyTracker> tracker,
                       std::vector<memory::PageBitmap> dirty)
    : guest_(guest),
      tracker_(std::move(tracker)),
      dirty_(std::move(dirty)),
      ran_(guest.running()) {}

LiveSource::~LiveSource() { give_back(); }

Result<std::unique_ptr<LiveSource>> LiveSource::create(guest::Guest& guest,
                                                       const memory::PageSource& memory,
                                                       std::string_view tracker) {
    MIGRATE_ASSIGN(auto made, memory::make_dirty_tracker(tracker, memory));
    std::vector<memory::PageBitmap> dirty;
    for (const RegionInfo& region : memory.regions()) {
        MIGRATE_ASSIGN(memory::PageBitmap bitmap, memory::PageBitmap::create(region.pages()));
        dirty.push_back(std::move(bitmap));
    }
    return std::unique_ptr<LiveSource>(new LiveSource(guest, std::move(made), std::move(dirty)));
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
    count_dirty();
    return {};
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

void LiveSource::give_back() {
    tracker_->stop();
    const auto put_back = [](std::string_view what, const Status& status) {
        if (!status) log::error("cannot {} the guest: {}", what, status.error().message());
    };
    if (throttle_ != 0) put_back("unthrottle", throttle(0));
    if (!handed_over_ && ran_ && !guest_.running()) put_back("resume", guest_.resume());
}

}  // namespace migrate::engine
