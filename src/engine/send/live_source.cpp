// SPDX-License-Identifier: Apache-2.0
#include "engine/send/live_source.hpp"

#include <algorithm>
#include <utility>

#include "accel/zero_kernel.hpp"
#include "base/catching.hpp"
#include "base/fault_guard.hpp"
#include "base/log.hpp"
#include "memory/source/page_content.hpp"

namespace migrate::engine {

using Clock = std::chrono::steady_clock;

namespace {

// Returns one bitmap per region.
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
                       std::vector<memory::PageBitmap> dirty,
                       std::vector<memory::PageBitmap> postponed, std::stop_token stop)
    : guest_(guest),
      memory_(memory),
      tracker_(std::move(tracker)),
      dirty_(std::move(dirty)),
      postponed_(std::move(postponed)),
      stop_(std::move(stop)) {
    guest_.obey(stop_);
}

LiveSource::~LiveSource() { static_cast<void>(restore()); }

Result<std::unique_ptr<LiveSource>> LiveSource::create(guest::Guest& guest,
                                                       const memory::PageSource& memory,
                                                       std::string_view tracker,
                                                       std::stop_token stop) {
    auto made = memory::make_dirty_tracker(tracker, memory);
    // The option accepts known names only, so this host or this memory is the cause.
    if (!made) return std::move(made).error().as(ErrorKind::kRefused);
    MIGRATE_ASSIGN(auto dirty, make_bitmaps(memory));
    MIGRATE_ASSIGN(auto postponed, make_bitmaps(memory));
    return std::unique_ptr<LiveSource>(new LiveSource(
        guest, memory, *std::move(made), std::move(dirty), std::move(postponed), std::move(stop)));
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

void LiveSource::note_copy(RegionId region, PageRange pages, std::span<const std::byte> copy) {
    tracker_->sent(region, pages, copy);
}

Status LiveSource::content(RegionId region, PageRange range,
                           std::vector<memory::PopulationExtent>& extents) const {
    const memory::PageBitmap& content = content_[index_of(region)];
    memory::PopulationBuilder builder(range, extents);
    while (!builder.complete()) {
        builder.extend_to(content.find(builder.next(), range.end(), true), false);
        builder.extend_to(content.find(builder.next(), range.end(), false), true);
    }
    return {};
}

std::uint64_t LiveSource::content_pages() const {
    std::uint64_t pages = 0;
    for (const memory::PageBitmap& content : content_) pages += content.count({0, content.pages()});
    return pages;
}

Status LiveSource::check_read(RegionId region, PageRange range) {
    const accel::ZeroKernel* kernel = accel::runnable_zero_kernels().front();
    const memory::PageBitmap& content = content_[index_of(region)];
    memory::PageContent copy(memory_);
    const std::byte* memory = nullptr;
    if (memory_.is_mapped(region)) {
        memory = memory_.memory(region).data() + range.offset_bytes();
    } else {
        MIGRATE_ASSIGN(memory, copy.of(region, range));
    }
    bool filled = false;
    MIGRATE_TRY(guard_reads(memory_.description(), [&] {
        for (std::uint64_t i = 0; i < range.count && !filled; ++i) {
            filled = content.test(range.first + i) && kernel->is_zero(memory + i * kPageSize);
        }
    }));
    if (!filled) return {};
    // One read populates a whole kernel page, whatever its size.
    const std::uint64_t step = std::max(memory_.largest_page_bytes() / kPageSize, range.count);
    const std::uint64_t first = range.first - range.first % step;
    filled_.emplace_back(index_of(region),
                         PageRange{first, std::min(step, content.pages() - first)});
    return {};
}

// Marks the pages of check_read() as dirty: a read may have filled them with zeros, and the
// destination has content for them.
void LiveSource::add_filled() {
    for (const auto& [region, pages] : filled_) add_content(region, pages);
    filled_.clear();
}

// Here and in collect(), writers are checked after the tracker has done its work, not before. So a
// writer that exists at that time is found, even if it is gone before the next collection.
Status LiveSource::start() {
    MIGRATE_TRY(tracker_->start());
    return check_writers();
}

Status LiveSource::check(guest::Saving saving) {
    std::optional<std::string> said;
    {
        const MutexLock lock(guest_mutex_);
        MIGRATE_ASSIGN(said, guest_.prepare_pause(saving));
    }
    return check_writers(memory::Writers::kAll, said);
}

Status LiveSource::check_writers() {
    if (!tracker_->relies_on_marks()) return {};
    std::optional<std::string> said;
    {
        const MutexLock lock(guest_mutex_);
        MIGRATE_ASSIGN(said, guest_.outside_writer());
    }
    return check_writers(memory::Writers::kOwner, said);
}

Status LiveSource::check_writers(memory::Writers writers, const std::optional<std::string>& said) {
    if (!tracker_->relies_on_marks()) return {};
    Status seen = tracker_->check(writers, said);
    // If the guest has ended, its memory is gone: that is the error to report.
    if (!seen) MIGRATE_TRY(check_alive());
    return seen;
}

// If the guest has ended, its memory cannot be read: that is the error to report.
Status LiveSource::collect_written() {
    Status collected = tracker_->collect(dirty_, stop_);
    if (!collected) MIGRATE_TRY(check_alive());
    add_postponed();
    return collected;
}

// The tracker reports these pages, too, unless they were given back meanwhile and the mark of the
// write went with them: the destination still has their old content.
void LiveSource::add_postponed() {
    for (std::size_t i = 0; i < postponed_.size(); ++i) {
        memory::PageBitmap& postponed = postponed_[i];
        std::uint64_t page = postponed.find(0, postponed.pages(), true);
        while (page < postponed.pages()) {
            const std::uint64_t end = postponed.find(page, postponed.pages(), false);
            dirty_[i].set({page, end - page});
            page = postponed.find(end, postponed.pages(), true);
        }
        postponed.reset();
    }
}

Status LiveSource::find(RegionId region, PageRange pages, memory::PageBitmap& again) {
    Status found = tracker_->peek(region, pages, again);
    if (!found) MIGRATE_TRY(check_alive());
    return found;
}

Status LiveSource::collect() {
    const Clock::time_point began = Clock::now();
    // A switchover that broke off may have left some; its round has ended.
    given_back_.clear();
    for (memory::PageBitmap& bitmap : dirty_) bitmap.reset();
    MIGRATE_TRY(collect_written());
    add_filled();
    collect_time_ = std::chrono::ceil<std::chrono::microseconds>(Clock::now() - began);
    count_dirty();
    return check_writers();
}

Status LiveSource::collect_again() {
    MIGRATE_TRY(collect_written());
    add_filled();
    count_dirty();
    return {};
}

Status LiveSource::collect_paused() {
    MIGRATE_TRY(collect_written());
    add_filled();
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
    {
        const MutexLock lock(guest_mutex_);
        MIGRATE_TRY(guest_.throttle(percent));
    }
    throttle_ = percent;
    return {};
}

Status LiveSource::pause() {
    const MutexLock lock(guest_mutex_);
    return guest_.pause();
}

Status LiveSource::resume() {
    const MutexLock lock(guest_mutex_);
    MIGRATE_TRY(guest_.resume());
    guest_.obey(stop_);
    return {};
}

Status LiveSource::check_unchanged() {
    const MutexLock lock(guest_mutex_);
    return guest_.check_unchanged();
}

Status LiveSource::check_still() {
    const MutexLock lock(guest_mutex_);
    return guest_.check_still();
}

std::string LiveSource::disturbance() const {
    const MutexLock lock(guest_mutex_);
    return guest_.disturbance();
}

Status LiveSource::check_alive() {
    const MutexLock lock(guest_mutex_);
    return guest_.check_alive();
}

Result<std::string> LiveSource::save_state() {
    const MutexLock lock(guest_mutex_);
    return guest_.save_state();
}

Status LiveSource::prepare_give_away() {
    const MutexLock lock(guest_mutex_);
    return guest_.prepare_give_away();
}

void LiveSource::hand_over() {
    const MutexLock lock(guest_mutex_);
    guest_.give_away();
    handed_over_ = true;
}

void LiveSource::take_back() {
    const MutexLock lock(guest_mutex_);
    guest_.take_back();
    handed_over_ = false;
}

Status LiveSource::restore() noexcept {
    if (std::exchange(ended_, true)) return {};
    const auto attempt = [](std::string_view what, const auto& work) {
        Status status = catching("the guest", work);
        if (!status) log::error("cannot {} the guest: {}", what, status.error().message());
        return status;
    };
    // Resume first, so that the guest does not wait for the rest.
    Status resumed = handed_over_ ? Status() : attempt("resume", [this] {
        const MutexLock lock(guest_mutex_);
        return guest_.resume();
    });
    static_cast<void>(attempt("stop tracking", [this]() -> Status {
        tracker_->stop();
        return {};
    }));
    if (throttle_ != 0) static_cast<void>(attempt("unthrottle", [this] { return throttle(0); }));
    return resumed;
}

GuestCpuSample sample_guest_cpu(const LiveSource& live) {
    return {std::chrono::steady_clock::now(), live.guest_cpu_time()};
}

}  // namespace migrate::engine
