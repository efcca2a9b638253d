// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/prefaulter.hpp"

#include <algorithm>
#include <atomic>
#include <optional>
#include <stop_token>
#include <vector>

#include "base/catching.hpp"
#include "base/mutex.hpp"
#include "base/thread.hpp"

namespace migrate::memory {
namespace {

// Large enough to outweigh the hand-over, small enough to split a packet's 512 KiB evenly.
constexpr std::uint64_t kPiecePages = 128 * kKiB / kPageSize;

std::vector<Prefaulter::Piece> pieces_of(std::span<const PageRange> ranges) {
    std::vector<Prefaulter::Piece> pieces;
    for (std::size_t i = 0; i < ranges.size(); ++i) {
        const PageRange& range = ranges[i];
        for (std::uint64_t first = range.first; first < range.end(); first += kPiecePages) {
            pieces.push_back({i, {first, std::min(kPiecePages, range.end() - first)}});
        }
    }
    return pieces;
}

std::uint64_t total_pages(std::span<const PageRange> ranges) {
    std::uint64_t pages = 0;
    for (const PageRange& range : ranges) pages += range.count;
    return pages;
}

// One call of share(); lives on its caller's stack until no helper uses it.
struct Job {
    Job(const std::function<Status(Prefaulter::Piece)>& what, std::span<const PageRange> ranges)
        : work(what), pieces(pieces_of(ranges)) {}

    const std::function<Status(Prefaulter::Piece)>& work;
    std::vector<Prefaulter::Piece> pieces;
    std::atomic<std::size_t> next_piece{0};  // relaxed: hands out numbers, orders nothing
    // The mutex of the State that works on it guards these three; clang cannot check that.
    unsigned helpers = 0;        // number of helpers at work on it
    std::optional<Error> error;  // the first error
    Job* next = nullptr;         // next in the list of open jobs

    bool has_pieces() const { return next_piece.load(std::memory_order_relaxed) < pieces.size(); }
};

}  // namespace

struct Prefaulter::State {
    Mutex mutex;
    StopCondition job_came;
    Condition helper_left;
    // An intrusive list, so that a job costs no allocation.
    Job* open_jobs GUARDED_BY(mutex) PT_GUARDED_BY(mutex) = nullptr;
    std::vector<Thread> helpers;

    void add(Job& job) REQUIRES(mutex);
    void remove(Job& job) REQUIRES(mutex);
    Job* first_with_pieces() const REQUIRES(mutex);
    static std::optional<Error> work_on(Job& job);
    void help(const std::stop_token& stop);
};

void Prefaulter::State::add(Job& job) {
    job.next = open_jobs;
    open_jobs = &job;
}

void Prefaulter::State::remove(Job& job) {
    Job** at = &open_jobs;
    while (*at != &job) at = &(*at)->next;
    *at = job.next;
}

Job* Prefaulter::State::first_with_pieces() const {
    Job* job = open_jobs;
    while (job != nullptr && !job->has_pieces()) job = job->next;
    return job;
}

// Returns when the job has no more pieces to hand out, or when one failed.
std::optional<Error> Prefaulter::State::work_on(Job& job) {
    for (;;) {
        const std::size_t piece = job.next_piece.fetch_add(1, std::memory_order_relaxed);
        if (piece >= job.pieces.size()) return std::nullopt;
        Status status = catching("prefault", [&] { return job.work(job.pieces[piece]); });
        if (status) continue;
        job.next_piece.store(job.pieces.size(), std::memory_order_relaxed);
        return std::move(status).error();
    }
}

void Prefaulter::State::help(const std::stop_token& stop) {
    MutexLock lock(mutex);
    Job* found = nullptr;
    // The predicate stores its result, because pieces run out without the mutex and a second search
    // may fail.
    const auto find_job = [this, &found]()
                              REQUIRES(mutex) { return (found = first_with_pieces()) != nullptr; };
    while (job_came.wait(lock, stop, find_job)) {
        Job& job = *found;
        ++job.helpers;
        lock.unlock();
        std::optional<Error> error = work_on(job);
        lock.lock();
        if (error && !job.error) job.error = std::move(error);
        if (--job.helpers == 0) helper_left.notify_all();
        // The job may no longer exist from here on.
    }
}

Prefaulter::Prefaulter(const PageSink& sink, unsigned helpers, RunHelper run_helper) : sink_(sink) {
    if (helpers == 0) return;
    if (!run_helper) {
        run_helper = [](const std::string& name, const std::function<void()>& work) {
            name_this_thread(name);
            work();
        };
    }
    state_ = std::make_unique<State>();
    state_->helpers.reserve(helpers);
    for (unsigned i = 0; i < helpers; ++i) {
        const std::string name = fmt::format("prefault_{}", i);
        Result<Thread> helper = Thread::start(
            name,
            [state = state_.get(), run_helper, name](const std::stop_token& stop) -> Status {
                run_helper(name, [&] { state->help(stop); });
                return {};
            },
            // A helper that fails to start is no error: the caller's work_on() does its share.
            [](const Error&) {});
        if (!helper) break;
        state_->helpers.push_back(*std::move(helper));
    }
    if (state_->helpers.empty()) state_.reset();
}

Prefaulter::~Prefaulter() {
    if (!state_) return;
    for (Thread& helper : state_->helpers) helper.request_stop();
    for (Thread& helper : state_->helpers) helper.join();
}

Status Prefaulter::populate(RegionId region, std::span<const PageRange> ranges) {
    return share(ranges, [&](const Piece& piece) { return sink_.prefault(region, piece.pages); });
}

Status Prefaulter::share(std::span<const PageRange> ranges,
                         const std::function<Status(Piece)>& work) {
    if (!state_ || total_pages(ranges) <= kPiecePages) {
        for (std::size_t i = 0; i < ranges.size(); ++i) MIGRATE_TRY(work({i, ranges[i]}));
        return {};
    }
    Job job(work, ranges);
    {
        const MutexLock lock(state_->mutex);
        state_->add(job);
    }
    state_->job_came.notify_one();
    std::optional<Error> error = state_->work_on(job);
    MutexLock lock(state_->mutex);
    // Remove the job first, so that a helper that wakes now does not find it.
    state_->remove(job);
    state_->helper_left.wait(lock, [&job] { return job.helpers == 0; });
    if (!error) error = std::move(job.error);
    if (error) return *std::move(error);
    return {};
}

}  // namespace migrate::memory
