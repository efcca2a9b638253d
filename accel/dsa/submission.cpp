// SPDX-License-Identifier: Apache-2.0
#include "accel/dsa/submission.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <memory>

#include "base/mutex.hpp"
#include "base/units.hpp"

namespace migrate::accel::dsa {

namespace {

constexpr std::uint32_t kCheckFlags = kFlagCompletionAddressValid | kFlagRequestCompletion;

void count(QueueCounters::Count& counter, std::uint64_t by = 1) {
    counter.fetch_add(by, std::memory_order_relaxed);
}

std::uint64_t nanoseconds_between(Time::Point from, Time::Point to) {
    return static_cast<std::uint64_t>(
        std::max<std::int64_t>(std::chrono::nanoseconds(to - from).count(), 0));
}

// Puts the record into the state that the device expects: no status, result or count.
void clear(CompletionRecord& record) {
    record.result = 0;
    record.bytes_completed = 0;
    record.fault_address = 0;
    record.status.store(0, std::memory_order_relaxed);
}

CompletionStatus status_of(const CompletionRecord& record) {
    return static_cast<CompletionStatus>(record.status.load(std::memory_order_acquire) &
                                         kStatusMask);
}

// The mapping is never destroyed, because the device may write to it at any later time.
void keep_forever(Mapping mapping) {
    struct Kept {
        Mutex mutex;
        std::vector<Mapping> mappings GUARDED_BY(mutex);
    };
    static auto* const kept = new Kept;
    const MutexLock lock(kept->mutex);
    kept->mappings.push_back(std::move(mapping));
}

}  // namespace

Result<std::unique_ptr<Submission>> Submission::create(std::size_t max_pages) {
    std::unique_ptr<Submission> submission(new Submission(max_pages));
    MIGRATE_TRY(submission->make_memory());
    return submission;
}

Submission::Submission(std::size_t max_pages)
    : max_pages_(max_pages),
      watches_(std::make_unique<Watch[]>(max_pages)) {  // NOLINT(*-avoid-c-arrays)
    answers_.reserve(max_pages_);
    units_.reserve(max_pages_);
}

Status Submission::make_memory() {
    MIGRATE_ASSIGN(
        mapping_,
        Mapping::create({.size = 2 * max_pages_ * (sizeof(Descriptor) + sizeof(CompletionRecord)),
                         .protection = PROT_READ | PROT_WRITE,
                         .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                         .what = "memory for DSA descriptors"}));
    std::byte* at = mapping_.data();
    const auto place = [&]<typename T>(std::span<T>& span) {
        T* first = reinterpret_cast<T*>(at);
        std::uninitialized_value_construct_n(first, max_pages_);
        span = {first, max_pages_};
        at += max_pages_ * sizeof(T);
    };
    place(formats_.children);
    place(formats_.submitted);
    place(formats_.records);
    place(formats_.batch_records);
    return {};
}

void Submission::assign(std::span<const std::byte* const> pages, WorkQueue& queue) {
    queue_ = &queue;
    taken_ = 0;
    awaited_ = 0;
    polled_until_ = Time::Point::max();
    figures_ = {};
    units_.clear();
    answers_.assign(pages.size(), Answer::kNone);
    for (std::size_t i = 0; i < pages.size(); ++i) {
        clear(formats_.records[i]);
        Descriptor& child = formats_.children[i];
        child.set(Opcode::kCompval, kCheckFlags);
        child.completion_address = address_of(&formats_.records[i]);
        child.source = address_of(pages[i]);
        child.destination = 0;  // the pattern
        child.size = kPageSize;
    }
    make_units(static_cast<std::uint32_t>(pages.size()));
}

void Submission::make_units(std::uint32_t total) {
    const std::uint32_t limit = std::max(queue_->portal().limits().batch, 1U);
    for (std::uint32_t first = 0; first < total; first += limit) {
        const std::uint32_t count = std::min(limit, total - first);
        Descriptor& descriptor = formats_.submitted[units_.size()];
        if (count == 1) {
            descriptor = formats_.children[first];
        } else {
            CompletionRecord& record = formats_.batch_records[units_.size()];
            clear(record);
            descriptor.set(Opcode::kBatch, kCheckFlags);
            descriptor.completion_address = address_of(&record);
            descriptor.source = address_of(&formats_.children[first]);
            descriptor.destination = 0;
            descriptor.size = count;
        }
        units_.push_back({first, count});
    }
}

const CompletionRecord& Submission::record_of(const Unit& unit, std::size_t index) const {
    return unit.count == 1 ? formats_.records[unit.first] : formats_.batch_records[index];
}

bool Submission::submit(Completion& completion, std::chrono::nanoseconds timeout) {
    if (taken_ == units_.size()) return true;
    const std::size_t taken =
        queue_->submit(formats_.submitted.subspan(taken_, units_.size() - taken_));
    const Time::Point now = completion.time().now();
    if (taken_ == 0) figures_.submitted = now;
    QueueCounters& counters = queue_->counters();
    for (std::size_t i = 0; i < taken; ++i, ++taken_) {
        const Unit& unit = units_[taken_];
        Watch& watch = watches_[taken_];
        watch.status = &record_of(unit, taken_).status;
        watch.pages = unit.count;
        watch.submitted = now;
        watch.deadline = now + timeout;
        watch.polled_until = polled_until_;
        completion.watch(watch);
        figures_.given += unit.count;
        if (unit.count > 1) count(counters.batches);
        count(counters.descriptors, unit.count);
    }
    if (taken_ == units_.size()) return true;
    count(counters.retries);
    return false;
}

void Submission::give_up_submitting(Time::Point now, bool for_long) {
    if (taken_ == units_.size()) return;
    if (queue_->alive()) {
        count(queue_->counters().full);
        queue_->stayed_full(now, for_long);
    }
    units_.resize(taken_);
}

bool Submission::advance(Completion& completion) {
    const std::size_t before = awaited_;
    while (awaited_ < taken_ && completion.settled(watches_[awaited_])) take_answer(awaited_++);
    return awaited_ != before;
}

bool Submission::await(Completion& completion, Time::Point limit) {
    const Time::Point begin = completion.time().now();
    while (awaited_ < taken_ && completion.await(watches_[awaited_], limit))
        take_answer(awaited_++);
    count(queue_->counters().wait_ns, nanoseconds_between(begin, completion.time().now()));
    return awaited_ == taken_;
}

void Submission::set_aside(Completion& completion) {
    for (std::size_t i = awaited_; i < taken_; ++i) completion.set_aside(watches_[i]);
}

std::uint32_t Submission::outstanding_pages() const {
    std::uint32_t pages = 0;
    for (std::size_t i = awaited_; i < taken_; ++i) pages += units_[i].count;
    return pages;
}

void Submission::take_answer(std::size_t index) {
    const Watch& watch = watches_[index];
    figures_.seen = watch.seen;
    if (!watch.answered()) {
        count(queue_->counters().timeouts);
        queue_->timed_out();
        lost_ = true;
        return;
    }
    count(queue_->counters().device_ns, nanoseconds_between(watch.submitted, watch.seen));
    queue_->answered(1);
    harvest(units_[index], index);
}

void Submission::refused(std::uint8_t status, std::uint32_t pages) {
    count(queue_->counters().bad_statuses);
    queue_->refused(status, pages, figures_.seen);
}

void Submission::harvest(const Unit& unit, std::size_t index) {
    if (unit.count == 1) {
        harvest_page(unit.first);
        return;
    }
    QueueCounters& counters = queue_->counters();
    const CompletionRecord& record = formats_.batch_records[index];
    std::uint32_t processed = unit.count;
    switch (status_of(record)) {
        case CompletionStatus::kSuccess:
        case CompletionStatus::kBatchFailed:
            break;
        case CompletionStatus::kBatchPageFault:
            count(counters.list_faults);
            processed = std::min(record.bytes_completed, unit.count);
            break;
        case CompletionStatus::kRecordAddress:
            count(counters.record_faults);
            lost_ = true;
            return;
        case CompletionStatus::kHardwareError:
        case CompletionStatus::kHardwareReadbackError:
        case CompletionStatus::kTranslationFailed:
            // The number of processed descriptors is not known.
            refused(record.status.load(std::memory_order_relaxed), unit.count);
            lost_ = true;
            return;
        default:  // the device refused the whole batch
            refused(record.status.load(std::memory_order_relaxed), unit.count);
            return;
    }
    // The device writes the children's records before the batch's.
    for (std::uint32_t i = 0; i < processed; ++i) harvest_page(unit.first + i);
}

void Submission::harvest_page(std::uint32_t child) {
    const CompletionRecord& record = formats_.records[child];
    QueueCounters& counters = queue_->counters();
    switch (status_of(record)) {
        case CompletionStatus::kSuccess:
            if (record.result > 1) {
                refused(record.status.load(std::memory_order_relaxed), 1);
            } else {
                answers_[child] = record.result == 0 ? Answer::kZero : Answer::kNotZero;
                ++figures_.answered;
                queue_->answered_well();
            }
            return;
        case CompletionStatus::kNone:
            // The answer did not reach the record, or is still to come.
            count(counters.record_faults);
            lost_ = true;
            return;
        case CompletionStatus::kPageFault:
        case CompletionStatus::kPageResponseError:
            count(counters.page_faults);
            return;
        default:
            refused(record.status.load(std::memory_order_relaxed), 1);
            return;
    }
}

void Submission::abandon() {
    lost_ = false;
    keep_forever(std::move(mapping_));
}

Status Submission::renew() {
    abandon();
    Status made = make_memory();
    lost_ = !made;  // without memory nothing can be assigned
    return made;
}

}  // namespace migrate::accel::dsa
