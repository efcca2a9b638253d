#include "accel/dsa/batch.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/mutex.hpp"
#include "base/raw_syscall.hpp"
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

// Returns 0 or an errno. The kernel reads, so a page that cannot be read raises no signal here.
int copy_page(const std::byte* from, std::byte* to) {
    const iovec target{to, kPageSize};
    const iovec source{const_cast<std::byte*>(from), kPageSize};
    const long copied = raw_syscall(SYS_process_vm_readv, ::getpid(), &target, 1, &source, 1, 0);
    if (copied == static_cast<long>(kPageSize)) return 0;
    return copied < 0 ? errno : EFAULT;
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

Result<std::unique_ptr<Batch>> Batch::create(std::size_t max_pages, std::size_t verify_every) {
    std::unique_ptr<Batch> batch(new Batch(max_pages, verify_every));
    MIGRATE_TRY(batch->make_memory());
    return batch;
}

Batch::Batch(std::size_t max_pages, std::size_t verify_every)
    : max_pages_(max_pages),
      watches_(std::make_unique<Watch[]>(max_pages)),  // NOLINT(*-avoid-c-arrays)
      verify_every_(verify_every),
      until_copy_(verify_every) {
    pages_.reserve(max_pages_);
    answers_.reserve(max_pages_);
    units_.reserve(max_pages_);
}

Status Batch::make_memory() {
    const std::uint64_t formats = 2 * max_pages_ * (sizeof(Descriptor) + sizeof(CompletionRecord));
    copies_at_ = (formats + kPageSize - 1) / kPageSize * kPageSize;
    const std::uint64_t copies = verify_every_ == 0 ? 0 : max_pages_ / verify_every_ + 1;
    MIGRATE_ASSIGN(mapping_, Mapping::create({.size = copies_at_ + copies * kPageSize,
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
    place(children_);
    place(submitted_);
    place(records_);
    place(batch_records_);
    return {};
}

void Batch::fill(std::span<const PageExtent> extents, WorkQueue& queue) {
    queue_ = &queue;
    taken_ = 0;
    awaited_ = 0;
    pages_.clear();
    for (const PageExtent& extent : extents) {
        for (std::uint32_t i = 0; i < extent.pages; ++i)
            pages_.push_back(extent.data + i * kPageSize);
    }
    answers_.assign(pages_.size(), Answer::kNone);
    copies_.clear();
    uncopied_.clear();
    units_.clear();
    if (!queue.alive()) return;
    for (std::size_t i = 0; i < pages_.size(); ++i) {
        clear(records_[i]);
        Descriptor& child = children_[i];
        child.set(Opcode::kCompval, kCheckFlags);
        child.completion_address = address_of(&records_[i]);
        child.source = address_of(pages_[i]);
        child.destination = 0;  // the pattern
        child.size = kPageSize;
    }
    if (verify_every_ != 0) add_copies();
    make_units();
}

void Batch::add_copies() {
    for (std::size_t i = 0; i < pages_.size(); ++i) {
        if (--until_copy_ != 0) continue;
        until_copy_ = verify_every_;
        std::byte* to = mapping_.data() + copies_at_ + copies_.size() * kPageSize;
        if (const int error = copy_page(pages_[i], to); error != 0) {
            uncopied_.push_back(static_cast<std::uint32_t>(i));
            copy_error_ = error;
            continue;
        }
        children_[i].source = address_of(to);
        copies_.push_back({static_cast<std::uint32_t>(i), to});
    }
}

void Batch::make_units() {
    const std::uint32_t limit = std::max(queue_->portal().limits().batch, 1U);
    const auto total = static_cast<std::uint32_t>(pages_.size());
    for (std::uint32_t first = 0; first < total; first += limit) {
        const std::uint32_t count = std::min(limit, total - first);
        Descriptor& descriptor = submitted_[units_.size()];
        if (count == 1) {
            descriptor = children_[first];
        } else {
            CompletionRecord& record = batch_records_[units_.size()];
            clear(record);
            descriptor.set(Opcode::kBatch, kCheckFlags);
            descriptor.completion_address = address_of(&record);
            descriptor.source = address_of(&children_[first]);
            descriptor.destination = 0;
            descriptor.size = count;
        }
        units_.push_back({first, count});
    }
}

const CompletionRecord& Batch::record_of(const Unit& unit, std::size_t index) const {
    return unit.count == 1 ? records_[unit.first] : batch_records_[index];
}

bool Batch::submit(Completion& completion, std::chrono::nanoseconds timeout) {
    if (taken_ == units_.size()) return true;
    const std::size_t taken = queue_->submit(submitted_.subspan(taken_, units_.size() - taken_));
    const Time::Point now = completion.time().now();
    QueueCounters& counters = queue_->counters();
    for (std::size_t i = 0; i < taken; ++i, ++taken_) {
        const Unit& unit = units_[taken_];
        Watch& watch = watches_[taken_];
        watch.status = &record_of(unit, taken_).status;
        watch.submitted = now;
        watch.deadline = now + timeout;
        completion.watch(watch);
        if (unit.count > 1) count(counters.batches);
        count(counters.descriptors, unit.count);
    }
    if (taken_ == units_.size()) return true;
    count(counters.retries);
    return false;
}

void Batch::give_up_submitting() {
    if (taken_ == units_.size()) return;
    if (queue_->alive()) count(queue_->counters().full);
    units_.resize(taken_);
}

bool Batch::advance(Completion& completion) {
    const std::size_t before = awaited_;
    while (awaited_ < taken_ && completion.ready(watches_[awaited_])) take_answer(awaited_++, true);
    return awaited_ != before;
}

void Batch::await(Completion& completion) {
    const Time::Point begin = completion.time().now();
    while (awaited_ < taken_) {
        const bool answered = completion.await(watches_[awaited_]);
        take_answer(awaited_++, answered);
    }
    count(queue_->counters().wait_ns, nanoseconds_between(begin, completion.time().now()));
}

void Batch::take_answer(std::size_t index, bool answered) {
    if (!answered) {
        count(queue_->counters().timeouts);
        queue_->disable("did not answer in time (accel-timeout)");
        lost_ = true;
        return;
    }
    const Watch& watch = watches_[index];
    count(queue_->counters().device_ns, nanoseconds_between(watch.submitted, watch.seen));
    queue_->answered(1);
    harvest(units_[index], index);
}

void Batch::harvest(const Unit& unit, std::size_t index) {
    if (unit.count == 1) {
        harvest_page(unit.first);
        return;
    }
    QueueCounters& counters = queue_->counters();
    const CompletionRecord& record = batch_records_[index];
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
            count(counters.bad_statuses);
            lost_ = true;
            return;
        default:  // the device refused the whole batch
            count(counters.bad_statuses);
            return;
    }
    // The device writes the children's records before the batch's.
    for (std::uint32_t i = 0; i < processed; ++i) harvest_page(unit.first + i);
}

void Batch::harvest_page(std::uint32_t page) {
    const CompletionRecord& record = records_[page];
    QueueCounters& counters = queue_->counters();
    switch (status_of(record)) {
        case CompletionStatus::kSuccess:
            if (record.result > 1) {
                count(counters.bad_statuses);
            } else {
                answers_[page] = record.result == 0 ? Answer::kZero : Answer::kNotZero;
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
            count(counters.bad_statuses);
            return;
    }
}

void Batch::abandon() {
    lost_ = false;
    keep_forever(std::move(mapping_));
}

Status Batch::renew() {
    abandon();
    return make_memory();
}

std::uint64_t Batch::collect(bool (*is_zero)(const std::byte* page),
                             std::span<std::uint64_t> zero_map) {
    std::uint64_t on_cpu = 0;
    std::ranges::fill(zero_map.first((pages_.size() + 63) / 64), 0);
    for (std::size_t i = 0; i < pages_.size(); ++i) {
        bool zero = answers_[i] == Answer::kZero;
        if (answers_[i] == Answer::kNone) {
            zero = is_zero(pages_[i]);
            ++on_cpu;
        }
        if (zero) zero_map[i / 64] |= std::uint64_t{1} << (i % 64);
    }
    count(queue_->counters().cpu_pages, on_cpu);
    for (const Copy& copy : copies_) {
        const Answer answer = answers_[copy.page];
        if (answer == Answer::kNone) continue;
        count(queue_->counters().verified);
        if (is_zero(copy.data) != (answer == Answer::kZero)) return copy.page;
    }
    return pages_.size();
}

Status Batch::check_verified() const {
    const auto unchecked = [this](std::uint32_t page) { return answers_[page] != Answer::kNone; };
    if (std::ranges::none_of(uncopied_, unchecked)) return {};
    return Error::system("copy a page to verify a device's answer (accel-verify)", copy_error_);
}

}  // namespace migrate::accel::dsa
