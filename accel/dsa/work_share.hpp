// SPDX-License-Identifier: Apache-2.0
// Decides how many pages of each batch a device checks and how many the CPU, from the time that
// both take. Invariant: a channel never waits longer for an answer than the CPU would need for the
// pages, so that a migration with a slow, shared or silent device takes hardly longer than one
// without.
//
// While the device keeps up with the channel, its share grows up to all pages. Once the channel
// has to wait, the device gets the pages that it can check while the CPU checks the others. A
// device whose answers come too late, or cost the CPU more than its own check, gets nothing but a
// trial from time to time.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "accel/dsa/completion.hpp"
#include "base/config/choices.hpp"

namespace migrate::accel::dsa {

enum class ShareReason : std::uint8_t {
    kNotMeasured,  // too few pages so far
    kAllAsked,     // accel-share=all
    kKeepsUp,      // the device is never waited for
    kWaits,        // the channel would wait for the device
    kTooLate,      // answers come later than the CPU checks the pages
    kNoAnswers,    // all answers are faults or refusals
    kTooCostly,    // submitting and waiting take more CPU time than checking
    kNoQueue,      // no queue takes work
};
std::string_view text_of(ShareReason reason);

// Figures of one channel for reports. Any thread reads them.
struct ShareFigures {
    std::atomic<std::uint64_t> cpu_pages{0};
    std::atomic<std::uint64_t> cpu_ns{0};  // time in which the CPU checked them
    std::atomic<std::uint64_t> device_pages{0};
    std::atomic<std::uint64_t> device_ns{0};    // time in which the device answered for its pages
    std::atomic<std::uint64_t> overhead_ns{0};  // CPU time to submit them and to wait for them
    std::atomic<double> share{0};               // part of the pages that the device gets now
    std::atomic<ShareReason> reason{ShareReason::kNotMeasured};
};

// The smallest of the last values: unlike their average, it does not grow if the thread was
// interrupted while it measured.
class RecentLowest {
  public:
    void add(double value);
    bool known() const { return count_ != 0; }
    // Requires known().
    double value() const;

  private:
    std::array<double, 8> values_{};
    std::size_t count_ = 0;
};

// One per channel; its thread uses it.
class WorkShare {
  public:
    using Point = Time::Point;
    using Nanoseconds = std::chrono::nanoseconds;

    // `figures` outlives this object. `policy` kAll gives the device everything, and lets the
    // channel wait for as long as it takes.
    WorkShare(AccelShare policy, Point start, ShareFigures& figures);

    // Returns how many of the `pages` that a batch has to check the device gets. `has_queue` is
    // false if no queue takes work.
    std::uint32_t device_pages(std::uint32_t pages, bool has_queue, Point now);
    // Returns false if device_pages() gives the device nothing now, whatever the batch is.
    bool may_use_device(Point now) const { return share_ != 0 || now >= retry_at_; }
    // Returns until when the channel may wait for the answers of a batch about `pages` pages.
    Point wait_limit(std::uint32_t pages, Point now) const;
    // Returns until when a thread should poll for the answers about the `pages` that
    // device_pages() has just granted: for those of a trial only as long as a useful device takes.
    Point poll_limit(std::uint32_t pages, Point now) const;

    // The result of one batch.
    struct Outcome {
        std::uint32_t given = 0;     // pages that the queue took
        std::uint32_t answered = 0;  // pages that the device answered for in time
        std::uint32_t late = 0;      // pages that the CPU checked instead of waiting any longer
        Nanoseconds submitting{};    // CPU time to make the descriptors and submit them
        Nanoseconds waiting{};       // time that the channel waited
        Nanoseconds device{};        // from the submission, or the answer before, to the answer
        std::uint32_t on_cpu = 0;    // pages that the CPU checked
        Nanoseconds checking{};      // time that it took
    };
    // `waiter` is Completion::waiter_cost() now.
    void add(const Outcome& outcome, const WaiterCost& waiter, Point now);

    // CPU time to check a page, in ns; a usual figure until it is measured.
    double cpu_ns() const;
    // CPU time to submit a page to the device, in ns; 0 until it is measured.
    double overhead_ns() const;
    double share() const { return share_; }

  private:
    struct Window {
        Point begin;
        unsigned batches = 0;
        std::uint64_t pages = 0;
        std::uint64_t given = 0;
        std::uint64_t answered = 0;
        std::uint64_t late = 0;
        Nanoseconds waiting{};
        WaiterCost waiter;  // at its beginning
    };

    void measure(const Outcome& outcome);
    void decide(const WaiterCost& waiter, Point now);
    // Time in which a useful device answers a trial about so many pages.
    Nanoseconds trial_time(std::uint32_t pages) const;
    bool passes_trial(const Outcome& outcome, const WaiterCost& waiter) const;
    // Time of the waiting thread per page since the window's beginning.
    double waiter_ns(const WaiterCost& waiter) const;
    // True if the device is so slow that the window need not end.
    bool is_hopeless(const WaiterCost& waiter) const;
    // The share with which the device and the CPU end together, from the window's figures.
    double balanced_share(double elapsed_ns) const;
    void stop(ShareReason reason, Point now);
    void set(double share, ShareReason reason);

    AccelShare policy_;
    ShareFigures& figures_;
    RecentLowest cpu_;
    RecentLowest overhead_;
    double share_;
    double owed_ = 0;              // pages that the device's share still lacks, below one batch
    bool searching_ = true;        // the share doubles until the channel waits for the first time
    std::uint64_t batches_ = 0;    // number of device_pages()
    std::uint64_t collected_ = 0;  // number of add(), in the same order
    std::uint64_t trial_ = 0;      // the batch with the last trial
    Window window_;
    Point retry_at_;
    Nanoseconds retry_interval_;
};

}  // namespace migrate::accel::dsa
