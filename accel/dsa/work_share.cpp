// SPDX-License-Identifier: Apache-2.0
#include "accel/dsa/work_share.hpp"

#include <algorithm>

namespace migrate::accel::dsa {

namespace {

using std::chrono::milliseconds;

// CPU time per page until it is measured: 4 KiB at 16 GB/s.
constexpr double kUsualCpuNs = 250;
constexpr double kFirstShare = 1.0 / 16;
// A trial gives the device this part of one batch.
constexpr double kTrialShare = 0.125;
// A smaller share is not worth its submissions.
constexpr double kSmallestShare = 1.0 / 32;
// Fewer pages than this are not submitted but kept for a later batch.
constexpr std::uint32_t kFewestPages = 4;
// Batches between two decisions: some more than are in flight.
constexpr unsigned kWindowBatches = 8;
// Every so many batches the CPU checks some pages although the device keeps up, so that its time
// is known.
constexpr unsigned kSampleInterval = 16;
constexpr std::uint32_t kSamplePages = 8;
// The channel counts as waiting if it does so for more than this part of the time.
constexpr double kTolerableWait = 1.0 / 64;
constexpr double kGrowth = 1.0625;
// The device gets this part of its balanced share: a device that is always busy answers late.
constexpr double kMargin = 0.85;
// Batches after which a device that is much too slow is given up, before the window ends.
constexpr unsigned kHopelessBatches = 2;
// A trial is polled for as long as the CPU would need for its pages, and this much longer: for its
// submission and the latency of a device.
constexpr auto kTrialPolling = std::chrono::microseconds(5);
constexpr auto kFirstRetry = milliseconds(1);
constexpr auto kLastRetry = milliseconds(500);

double ns_of(WorkShare::Nanoseconds time) { return static_cast<double>(time.count()); }

void add_to(std::atomic<std::uint64_t>& sum, std::uint64_t value) {
    sum.fetch_add(value, std::memory_order_relaxed);
}

void add_to(std::atomic<std::uint64_t>& sum, WorkShare::Nanoseconds time) {
    add_to(sum, static_cast<std::uint64_t>(std::max<std::int64_t>(time.count(), 0)));
}

}  // namespace

std::string_view text_of(ShareReason reason) {
    switch (reason) {
        case ShareReason::kNotMeasured:
            return "too few pages to measure";
        case ShareReason::kAllAsked:
            return "accel-share=all";
        case ShareReason::kKeepsUp:
            return "the device keeps up with the channels";
        case ShareReason::kWaits:
            return "the channels would wait for the device, so the CPU checks the other pages";
        case ShareReason::kTooLate:
            return "the device answers later than the CPU checks the pages";
        case ShareReason::kNoAnswers:
            return "the device answers with faults or refusals only";
        case ShareReason::kTooCostly:
            return "using the device takes more CPU time than checking the pages";
        case ShareReason::kNoQueue:
            return "no work queue takes work";
    }
    return "";
}

void RecentLowest::add(double value) { values_[count_++ % values_.size()] = value; }

double RecentLowest::value() const {
    const auto end =
        values_.begin() + static_cast<std::ptrdiff_t>(std::min(count_, values_.size()));
    return *std::min_element(values_.begin(), end);
}

WorkShare::WorkShare(AccelShare policy, Point start, ShareFigures& figures)
    : policy_(policy),
      figures_(figures),
      share_(policy == AccelShare::kAll ? 1 : kFirstShare),
      window_{.begin = start, .waiter = {}},
      retry_at_(start),
      retry_interval_(kFirstRetry) {
    set(share_, policy == AccelShare::kAll ? ShareReason::kAllAsked : ShareReason::kNotMeasured);
}

void WorkShare::set(double share, ShareReason reason) {
    share_ = share;
    figures_.share.store(share, std::memory_order_relaxed);
    figures_.reason.store(reason, std::memory_order_relaxed);
}

double WorkShare::cpu_ns() const { return cpu_.known() ? cpu_.value() : kUsualCpuNs; }

double WorkShare::overhead_ns() const { return overhead_.known() ? overhead_.value() : 0; }

std::uint32_t WorkShare::device_pages(std::uint32_t pages, bool has_queue, Point now) {
    ++batches_;
    if (!has_queue) {
        figures_.reason.store(ShareReason::kNoQueue, std::memory_order_relaxed);
        return 0;
    }
    if (policy_ == AccelShare::kAll) return pages;
    if (share_ == 0) {
        if (!may_use_device(now)) return 0;
        retry_interval_ = std::min<Nanoseconds>(4 * retry_interval_, kLastRetry);
        retry_at_ = now + retry_interval_;
        trial_ = batches_;
        return static_cast<std::uint32_t>(
            std::max<double>(kTrialShare * pages, std::min(pages, kFewestPages)));
    }
    std::uint32_t most = pages;
    const bool samples = !cpu_.known() || batches_ % kSampleInterval == 0;
    if (samples && pages > 2 * kSamplePages) most -= kSamplePages;
    owed_ += share_ * pages;
    if (owed_ < std::min(pages, kFewestPages)) return 0;
    const auto given = std::min(static_cast<std::uint32_t>(owed_), most);
    owed_ = share_ == 1 ? 0 : std::min<double>(owed_ - given, kFewestPages);
    return given;
}

WorkShare::Point WorkShare::wait_limit(std::uint32_t pages, Point now) const {
    if (policy_ == AccelShare::kAll) return Point::max();
    // A trial is looked at and not waited for.
    if (share_ == 0) return now;
    return now + Nanoseconds(static_cast<std::int64_t>(cpu_ns() * pages));
}

WorkShare::Point WorkShare::poll_limit(std::uint32_t pages, Point now) const {
    if (share_ != 0) return Point::max();
    return now + trial_time(pages);
}

WorkShare::Nanoseconds WorkShare::trial_time(std::uint32_t pages) const {
    return kTrialPolling + Nanoseconds(static_cast<std::int64_t>(cpu_ns() * pages));
}

void WorkShare::measure(const Outcome& outcome) {
    // A page or two say little: the time also has the calls around the check.
    if (outcome.on_cpu >= kSamplePages) cpu_.add(ns_of(outcome.checking) / outcome.on_cpu);
    if (outcome.given >= kFewestPages) overhead_.add(ns_of(outcome.submitting) / outcome.given);
    add_to(figures_.cpu_pages, outcome.on_cpu);
    add_to(figures_.cpu_ns, outcome.checking);
    add_to(figures_.device_pages, outcome.answered);
    add_to(figures_.device_ns, outcome.device);
    add_to(figures_.overhead_ns, outcome.submitting + outcome.waiting);
}

void WorkShare::add(const Outcome& outcome, const WaiterCost& waiter, Point now) {
    measure(outcome);
    ++collected_;
    if (policy_ == AccelShare::kAll) return;
    if (share_ == 0) {
        // Batches that were submitted before are answered here, too.
        if (collected_ != trial_ || outcome.given == 0) return;
        if (passes_trial(outcome, waiter)) {
            set(kTrialShare, ShareReason::kWaits);
            window_ = {.begin = now, .waiter = waiter};
        }
        return;
    }
    ++window_.batches;
    window_.pages += outcome.given + outcome.on_cpu;
    window_.given += outcome.given;
    window_.answered += outcome.answered;
    window_.late += outcome.late;
    window_.waiting += outcome.waiting;
    const bool enough = window_.batches >= kWindowBatches && window_.given >= kFewestPages;
    if (enough || is_hopeless(waiter)) decide(waiter, now);
}

bool WorkShare::passes_trial(const Outcome& outcome, const WaiterCost& waiter) const {
    if (outcome.answered != outcome.given || overhead_ns() > cpu_ns()) return false;
    // A thread that polls for a device slower than the CPU takes longer than the CPU's check.
    const bool polls = waiter.busy != Nanoseconds();
    return !polls || outcome.device <= trial_time(outcome.given);
}

// With c and o the CPU's time to check and to submit a page, r the time per page for all else, and
// d the device's time per page, the share s is balanced if s*d = s*o + (1-s)*c + r.
double WorkShare::balanced_share(double elapsed_ns) const {
    const double c = cpu_ns();
    const double o = overhead_ns();
    const auto answered = static_cast<double>(window_.answered);
    const auto pages = static_cast<double>(window_.pages);
    const double busy = elapsed_ns - ns_of(window_.waiting);
    const double rest = std::max(busy - answered * o - (pages - answered) * c, 0.0) / pages;
    const double d = elapsed_ns / answered;
    return (c + rest) / std::max(d - o + c, c + rest);
}

double WorkShare::waiter_ns(const WaiterCost& waiter) const {
    const WaiterCost& before = window_.waiter;
    if (waiter.pages == before.pages) return 0;
    return ns_of(waiter.busy - before.busy) / static_cast<double>(waiter.pages - before.pages);
}

bool WorkShare::is_hopeless(const WaiterCost& waiter) const {
    if (window_.batches < kHopelessBatches) return false;
    if (window_.answered == 0) return window_.late >= kHopelessBatches * kFewestPages;
    return cpu_.known() && waiter_ns(waiter) > 2 * cpu_ns();
}

void WorkShare::decide(const WaiterCost& waiter, Point now) {
    const double elapsed = std::max(ns_of(now - window_.begin), 1.0);
    const Window last = window_;
    if (last.answered == 0) {
        stop(last.late != 0 ? ShareReason::kTooLate : ShareReason::kNoAnswers, now);
    } else if (cpu_.known() && overhead_ns() + waiter_ns(waiter) > cpu_ns()) {
        stop(ShareReason::kTooCostly, now);
    } else if (ns_of(last.waiting) > elapsed * kTolerableWait || last.late != 0) {
        searching_ = false;
        const double target =
            std::clamp(balanced_share(elapsed) * kMargin, share_ / 2, share_ * 0.95);
        if (target < kSmallestShare) {
            stop(ShareReason::kTooLate, now);
        } else {
            set(target, ShareReason::kWaits);
        }
    } else {
        const double grown = std::min(share_ * (searching_ ? 2 : kGrowth), 1.0);
        retry_interval_ = kFirstRetry;
        set(grown, grown == 1 ? ShareReason::kKeepsUp : ShareReason::kWaits);
    }
    window_ = {.begin = now, .waiter = waiter};
}

void WorkShare::stop(ShareReason reason, Point now) {
    set(0, reason);
    owed_ = 0;
    searching_ = false;
    retry_at_ = now + retry_interval_;
}

}  // namespace migrate::accel::dsa
