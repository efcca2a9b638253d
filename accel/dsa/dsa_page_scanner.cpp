// SPDX-License-Identifier: Apache-2.0
#include "accel/dsa/dsa_page_scanner.hpp"

#include <algorithm>

namespace migrate::accel::dsa {

namespace {

// Number of attempts to submit the oldest batch to a full queue, as in QEMU's DSA series: 100 times
// 128.
constexpr std::uint32_t kMaxOffers = 12'800;

}  // namespace

DsaPageScanner::DsaPageScanner(std::vector<WorkQueue*> queues, Completion& completion,
                               const ZeroKernel& kernel, const Options& options)
    : queues_(std::move(queues)),
      completion_(completion),
      kernel_(kernel),
      options_(options),
      share_(options.share, completion.time().now(),
             options.figures != nullptr ? *options.figures : own_figures_),
      first_look_(options.batch_pages) {}

Result<std::unique_ptr<DsaPageScanner>> DsaPageScanner::create(std::vector<WorkQueue*> queues,
                                                               Completion& completion,
                                                               const ZeroKernel& kernel,
                                                               const Options& options) {
    std::unique_ptr<DsaPageScanner> scanner(
        new DsaPageScanner(std::move(queues), completion, kernel, options));
    for (InFlight& each : scanner->batches_) {
        MIGRATE_ASSIGN(each.batch, Batch::create(options.batch_pages, options.verify_every));
    }
    return scanner;
}

DsaPageScanner::~DsaPageScanner() {
    // A device must not write an answer into memory that was freed.
    for (InFlight& each : batches_) {
        if (!each.batch) continue;
        Submission& submission = each.batch->submission();
        const Time::Point limit =
            share_.wait_limit(submission.outstanding_pages(), completion_.time().now());
        while (submission.outstanding() && submission.await(completion_, limit)) continue;
        if (submission.outstanding() && !completion_.forgets())
            submission.await(completion_, Time::Point::max());
        if (submission.outstanding() || submission.lost()) submission.abandon();
    }
}

WorkQueue* DsaPageScanner::chosen_queue(Time::Point now) const {
    for (WorkQueue* const queue : queues_) {
        if (queue->usable() || queue->take_trial(now)) return queue;
    }
    return nullptr;
}

void DsaPageScanner::look_first(std::span<const PageExtent> batch) {
    // The CPU's check begins with these bytes: a look saves only the device's work.
    if (!options_.prefilter || !share_.may_use_device(completion_.time().now())) return;
    looked_ = first_look_.is_due();
    if (looked_) first_look_.look(batch);
}

// Takes answers that have come since the CPU checked their pages.
bool DsaPageScanner::is_free(Batch& batch) {
    Submission& submission = batch.submission();
    if (submission.outstanding()) submission.advance(completion_);
    if (submission.outstanding()) return false;
    if (!submission.lost()) return true;
    submission.queue().lost_memory();
    return static_cast<bool>(submission.renew());
}

void DsaPageScanner::submit(std::span<const PageExtent> batch) {
    const Time::Point begin = completion_.time().now();
    InFlight& next = batches_[(oldest_ + waiting_) % kDepth];
    WorkQueue* const queue = chosen_queue(begin);
    next.batch->fill(batch, queue != nullptr ? *queue : *queues_.front(),
                     looked_ ? first_look_.not_zero() : std::span<const std::uint64_t>());
    looked_ = false;
    next.submitting = {};
    ++waiting_;
    const std::uint32_t wanted =
        share_.device_pages(next.batch->unanswered(), queue != nullptr, begin);
    if (wanted != 0 && is_free(*next.batch)) {
        next.batch->assign(wanted);
        next.batch->submission().limit_polling(share_.poll_limit(wanted, begin));
    }
    offer_waiting();
    if (next.batch->awaits_device()) next.submitting = completion_.time().now() - begin;
}

// Offers each batch once, the oldest first; descriptors for which a queue has no room wait here.
void DsaPageScanner::offer_waiting() {
    for (std::size_t i = 0; i < waiting_; ++i) {
        Batch& batch = *batches_[(oldest_ + i) % kDepth].batch;
        if (!batch.awaits_device()) continue;
        if (!batch.submission().submit(completion_, options_.timeout)) return;
    }
}

const std::atomic<std::uint8_t>* DsaPageScanner::oldest_status() const {
    for (std::size_t i = 0; i < kDepth; ++i) {
        const Submission& each = batches_[(oldest_ + i) % kDepth].batch->submission();
        if (each.outstanding()) return &each.oldest_status();
    }
    return nullptr;
}

void DsaPageScanner::submit_rest(Batch& batch, Time::Point limit) {
    Submission& submission = batch.submission();
    const WorkQueue& queue = submission.queue();
    Time& time = completion_.time();
    std::uint32_t offers = 0;
    while (!submission.submit(completion_, options_.timeout)) {
        if (submission.advance(completion_)) {
            offers = 0;
        } else if (!queue.usable() || ++offers == kMaxOffers || time.now() >= limit) {
            submission.give_up_submitting(time.now(), offers == kMaxOffers);
            return;
        } else {
            time.pass(oldest_status(), offers);
        }
    }
}

Status DsaPageScanner::await() {
    InFlight& oldest = batches_[oldest_];
    Batch& batch = *oldest.batch;
    outcome_ = {};
    if (!batch.awaits_device()) return {};
    Submission& submission = batch.submission();
    const Time::Point begin = completion_.time().now();
    const Time::Point limit =
        share_.wait_limit(static_cast<std::uint32_t>(submission.answers().size()), begin);
    submit_rest(batch, limit);
    const bool complete = submission.await(completion_, limit);
    const Submission::Figures& figures = submission.figures();
    outcome_ = {.given = figures.given,
                .answered = figures.answered,
                .late = submission.outstanding_pages(),
                .submitting = oldest.submitting,
                .waiting = completion_.time().now() - begin,
                .device = figures.answered == 0
                              ? Time::Point::duration()
                              : figures.seen - std::max(figures.submitted, seen_)};
    if (figures.answered != 0) seen_ = std::max(seen_, figures.seen);
    if (!complete) {
        submission.set_aside(completion_);
        batch.overtake();
        return {};
    }
    batch.take_answers();
    if (!submission.lost()) return {};
    submission.queue().lost_memory();
    return submission.renew();
}

Status DsaPageScanner::collect(std::span<std::uint64_t> zero_map) {
    Batch& batch = *batches_[oldest_].batch;
    const Time::Point begin = completion_.time().now();
    const std::uint64_t wrong = batch.collect(kernel_.is_zero, zero_map);
    const Time::Point end = completion_.time().now();
    outcome_.on_cpu = batch.unanswered();
    if (outcome_.on_cpu != 0) outcome_.checking = end - begin;
    share_.add(outcome_, completion_.waiter_cost(), end);
    oldest_ = (oldest_ + 1) % kDepth;
    --waiting_;
    if (wrong == batch.pages()) return batch.check_verified();
    batch.queue().disable("gave a wrong answer (accel-verify)");
    return make_error(
        "{} reported that a page is {} zero, but the CPU found the opposite (accel-verify): do not "
        "use this device; its earlier answers may be wrong, too",
        batch.queue().name(), (zero_map[wrong / 64] >> (wrong % 64) & 1) != 0 ? "all" : "not all");
}

}  // namespace migrate::accel::dsa
