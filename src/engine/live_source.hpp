// The sending side's running guest: what it dirtied, its throttle and its pause. Invariant: unless
// hand_over() was called, the guest is unthrottled and untracked when this ends, and runs again if
// pause() stopped it.
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
#include "guest/guest.hpp"
#include "memory/dirty_tracker.hpp"
#include "memory/page_bitmap.hpp"
#include "memory/page_source.hpp"

namespace migrate::engine {

// Used by the thread that runs the migration, but for what says otherwise. Threads that send read
// dirty() and given_back() in a round, which the gate between rounds keeps apart from collecting.
class LiveSource {
  public:
    // `tracker` is the option dirty-tracker. Guest and memory outlive this. From here on `stop`
    // ends every wait for the guest and every look at its memory with kCancelled, but for
    // give_back().
    static Result<std::unique_ptr<LiveSource>> create(guest::Guest& guest,
                                                      const memory::PageSource& memory,
                                                      std::string_view tracker,
                                                      std::stop_token stop);
    ~LiveSource();
    LiveSource(const LiveSource&) = delete;
    LiveSource& operator=(const LiveSource&) = delete;

    // Its sent() and needs_sent() are for the threads that send.
    memory::DirtyTracker& tracker() { return *tracker_; }
    const memory::DirtyTracker& tracker() const { return *tracker_; }
    bool guest_runs() const { return guest_.running(); }

    // Before start(), where both memories are to be compared: memory that the guest gives back (to
    // a balloon, by free page reporting) is as it was to most trackers, but zeros to a digest. From
    // here on what went out with content is remembered, and counts as written if it was given back
    // when collect_more() looks.
    Status watch_given_back();
    // With it: what the destination has as no zeros, between rounds. As PageSource::population().
    Status content(RegionId region, PageRange range,
                   std::vector<memory::PopulationExtent>& extents) const;
    std::uint64_t content_pages() const;
    // Content was read outside of a round. A read fills memory that the guest gave back a moment
    // before with zeros, and nothing tells of it any more: what is zero now counts as written at
    // the next look. Between rounds.
    Status check_read(RegionId region, PageRange range);
    // Each run that goes out. Any thread, each page by one at a time.
    void note_sent(RegionId region, const PageRun& run);

    // From here on no write is missed.
    Status start();
    // Before the last round: an Error if writes may have been missed by now, or if the guest has
    // other memory than was opened.
    Status check();
    // An Error if the guest has other memory than was opened.
    Status check_unchanged() { return guest_.check_unchanged(); }
    // Makes dirty() what was written since start() or the last collect(). An Error if the memory's
    // owner may have written what no tracker saw.
    Status collect();
    // Adds to dirty() what was written since, while the guest runs.
    Status collect_again();
    // Adds to dirty() what was written since, once the guest is paused.
    Status collect_more();
    // One bitmap a region.
    std::span<const memory::PageBitmap> dirty() const { return dirty_; }
    // Those of dirty() that need not be read, being zeros; one bitmap a region, or none at all.
    std::span<const memory::PageBitmap> given_back() const { return given_back_; }
    std::uint64_t dirty_pages() const { return dirty_pages_; }
    std::chrono::microseconds collect_time() const { return collect_time_; }  // of the last one

    Status throttle(unsigned percent);
    // An Error, too, if the guest that is paused has other memory than was opened.
    Status pause();
    // As the guest's own.
    Status check_still() { return guest_.check_still(); }
    std::string disturbance() const { return guest_.disturbance(); }
    Status check_alive() { return guest_.check_alive(); }
    // Once the guest is paused, by one thread: this one's, or that of the guest's device.
    Result<std::string> save_state() { return guest_.save_state(); }
    // Any thread.
    guest::Activity activity() const { return guest_.activity(); }

    // The guest is the receiver's: it is not resumed here any more. Under the session's mutex, for
    // handed_over(), which any thread asks under it.
    void hand_over() {
        guest_.give_away();
        handed_over_ = true;
    }
    bool handed_over() const { return handed_over_; }
    // It is not after all: the receiver said that it will never run it. Under that mutex, too.
    void take_back() {
        guest_.take_back();
        handed_over_ = false;
    }
    // Does now what the destructor does: resumes, unthrottles, stops tracking. Once. What cannot be
    // put back is logged, and the Error says what became of the guest.
    Status give_back() noexcept;

  private:
    Status check_writers(memory::Writers writers);
    void count_dirty();
    Status collect_given_back();
    void add_content(std::size_t region, PageRange pages);
    void add_filled();
    LiveSource(guest::Guest& guest, const memory::PageSource& memory,
               std::unique_ptr<memory::DirtyTracker> tracker, std::vector<memory::PageBitmap> dirty,
               std::stop_token stop);

    guest::Guest& guest_;
    const memory::PageSource& memory_;
    std::unique_ptr<memory::DirtyTracker> tracker_;
    std::vector<memory::PageBitmap> dirty_;
    std::stop_token stop_;
    std::vector<memory::PageBitmap> content_;                // what the destination has as no zeros
    std::vector<memory::PageBitmap> given_back_;             // empty before the last look
    std::vector<std::pair<std::size_t, PageRange>> filled_;  // by check_read(), since the last look
    std::uint64_t dirty_pages_ = 0;
    std::chrono::microseconds collect_time_{};
    bool ended_ = false;  // given back, or kept for good
    bool handed_over_ = false;
    unsigned throttle_ = 0;
};

}  // namespace migrate::engine
