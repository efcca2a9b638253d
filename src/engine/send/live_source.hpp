// SPDX-License-Identifier: Apache-2.0
// The running guest on the sending side: its dirty pages, its throttle and its pause. Invariant:
// when this object ends, the guest is unthrottled and untracked; unless hand_over() was called, it
// also runs again if pause() stopped it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "engine/send/round_plan.hpp"
#include "engine/send/send_figures.hpp"
#include "engine/send/sent_pages.hpp"
#include "guest/guest.hpp"
#include "memory/dirty/dirty_tracker.hpp"
#include "memory/page_bitmap.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::engine {

// Used by the thread that runs the migration, except where stated. The sending threads call what
// SentPages and WrittenAgain declare, and read dirty() and given_back() during a round; the gate
// between rounds separates that from collecting.
class LiveSource final : public SentPages, public WrittenAgain {
  public:
    // `tracker` is the value of dirty-tracker. kRefused if that tracker cannot work with this host
    // and memory. Guest and memory outlive this object.
    static Result<std::unique_ptr<LiveSource>> create(guest::Guest& guest,
                                                      const memory::PageSource& memory,
                                                      std::string_view tracker,
                                                      std::stop_token stop);
    ~LiveSource() override;

    const memory::DirtyTracker& tracker() const { return *tracker_; }
    std::string_view guest_kind() const { return guest_.kind(); }
    std::string_view guest_method() const { return guest_.method(); }
    std::vector<MachinePart> machine() const { return guest_.machine(); }
    bool guest_runs() const { return guest_.running(); }

    // Called before start() if both memories are to be compared. Memory that the guest gives back
    // (to a balloon, by free page reporting) looks unchanged to most trackers, but reads as zeros
    // in a digest. From now on the pages sent with content are recorded, and count as written if
    // they have been given back when collect_paused() runs.
    Status watch_given_back();
    // After watch_given_back(), between rounds: reports the pages that the destination has with
    // content, as PageSource::population() does.
    Status content(RegionId region, PageRange range,
                   std::vector<memory::PopulationExtent>& extents) const;
    std::uint64_t content_pages() const;
    // Called between rounds, after content was read outside of a round. If the guest has just given
    // a page back, such a read fills it with zeros, and nothing shows that afterwards. So if a page
    // with content is zero now, the range counts as written at the next collection.
    Status check_read(RegionId region, PageRange range);
    void note_sent(RegionId region, const PageRun& run) override;
    bool wants_copies() const override { return tracker_->needs_sent(); }
    void note_copy(RegionId region, PageRange pages, std::span<const std::byte> copy) override;

    // Starts tracking: no write is missed from now on.
    Status start();
    // Called before pause(), which it prepares. An Error if writes may have been missed, or if the
    // guest's memory is no longer the memory that was opened.
    Status check(guest::Saving saving);
    // An Error if the guest's memory is no longer the memory that was opened.
    Status check_unchanged();
    // Sets dirty() to the pages written since start() or the last collect(). An Error if the
    // memory's owner may have written pages that no tracker saw.
    Status collect();
    // Adds the pages written since the last collection to dirty(), while the guest runs.
    Status collect_again();
    // The same once the guest is paused. After watch_given_back() it also sets given_back().
    Status collect_paused();
    // One bitmap per region.
    std::span<const memory::PageBitmap> dirty() const { return dirty_; }
    // The pages that were given back: they are zeros and need not be read. One bitmap per region,
    // or no bitmap.
    std::span<const memory::PageBitmap> given_back() const { return given_back_; }
    std::uint64_t dirty_pages() const { return dirty_pages_; }
    // The round that sends these pages.
    RoundPlan dirty_plan(unsigned channels) const {
        return RoundPlan::written(memory_.regions(), channels, dirty_, given_back_);
    }
    // The same while the guest runs: pages that it has written again when their turn comes are left
    // to the next collection, of which they are part, whatever happens to them until then.
    RoundPlan postponing_plan(unsigned channels) {
        RoundPlan plan = dirty_plan(channels);
        return tracker_->can_peek() ? plan.postponing(*this, postponed_) : std::move(plan);
    }
    Status find(RegionId region, PageRange pages, memory::PageBitmap& again) override;
    // Duration of the last collect().
    std::chrono::microseconds collect_time() const { return collect_time_; }

    Status throttle(unsigned percent);
    // The next ones call the guest's functions of the same name.
    Status pause();
    // The guest runs on here after pause(), and can be paused again.
    Status resume();
    Status check_still();
    std::string disturbance() const;
    Status prepare_give_away();
    // Any thread.
    Status check_alive();
    int alarm() const { return guest_.alarm(); }
    // Called once the guest is paused, by one thread: this object's or that of the guest's device.
    Result<std::string> save_state();
    // Any thread.
    guest::Activity activity() const { return guest_.activity(); }

    std::optional<std::chrono::microseconds> guest_cpu_time() const { return guest_.cpu_time(); }

    // The guest belongs to the receiver now and is not resumed here.
    void hand_over();
    bool handed_over() const { return handed_over_; }
    // Undoes hand_over(), since the receiver said that it will never run the guest.
    void take_back();
    // Undoes what this object did to the guest, as the destructor does: resumes it unless it was
    // handed over, stops tracking, unthrottles. Only the first call has an effect. Failures are
    // logged; the Error is that of resuming.
    Status restore() noexcept;

  private:
    Status check_writers();
    Status check_writers(memory::Writers writers, const std::optional<std::string>& said);
    Status collect_written();
    void add_postponed();
    void count_dirty();
    Status collect_given_back();
    void add_content(std::size_t region, PageRange pages);
    void add_filled();
    LiveSource(guest::Guest& guest, const memory::PageSource& memory,
               std::unique_ptr<memory::DirtyTracker> tracker, std::vector<memory::PageBitmap> dirty,
               std::vector<memory::PageBitmap> postponed, std::stop_token stop);

    guest::Guest& guest_;
    // One thread at a time uses the guest, apart from what any thread may call.
    mutable Mutex guest_mutex_;  // guards no data, but the use of guest_
    const memory::PageSource& memory_;
    std::unique_ptr<memory::DirtyTracker> tracker_;
    std::vector<memory::PageBitmap> dirty_;
    // Pages that were not sent since the last collection, because they were written again.
    std::vector<memory::PageBitmap> postponed_;
    std::stop_token stop_;
    std::vector<memory::PageBitmap> content_;     // pages the destination has with content
    std::vector<memory::PageBitmap> given_back_;  // empty before the last collection
    // Ranges that check_read() found filled, since the last collection.
    std::vector<std::pair<std::size_t, PageRange>> filled_;
    std::uint64_t dirty_pages_ = 0;
    std::chrono::microseconds collect_time_{};
    bool ended_ = false;  // restore() was called
    bool handed_over_ = false;
    unsigned throttle_ = 0;
};

// The CPU time of the guest's vCPUs now.
GuestCpuSample sample_guest_cpu(const LiveSource& live);

}  // namespace migrate::engine
