// SPDX-License-Identifier: Apache-2.0
#include "accel/dsa/completion.hpp"

#include <algorithm>
#include <thread>

#include "accel/dsa/instructions.hpp"

namespace migrate::accel::dsa {

namespace {

// A device needs some microseconds for a batch of 128 pages. PAUSE covers that; a longer wait may
// need this CPU, so it yields.
constexpr std::uint32_t kSpinsBeforeYield = 2000;
// Interval at which answers are looked for that no channel waits for.
constexpr auto kAsideInterval = std::chrono::milliseconds(1);
// Number of spins between two reads of the clock.
constexpr std::uint32_t kSpinsPerLook = 8;

void settle(Watch& watch, Watch::State state, Time::Point now) {
    watch.seen = now;
    watch.state.store(state, std::memory_order_release);
}

bool has_ended(const Watch& watch) {
    const Watch::State state = watch.state.load(std::memory_order_acquire);
    return state == Watch::State::kAnswered || state == Watch::State::kUnanswered;
}

Time::Point limit_of(const Watch& watch) {
    return Time::Point(Time::Point::duration(watch.limit.load(std::memory_order_acquire)));
}

}  // namespace

void RealTime::pass(const std::atomic<std::uint8_t>* status, std::uint32_t spins) {
    if (spins >= kSpinsBeforeYield) {
        std::this_thread::yield();
    } else if (status != nullptr && has_user_wait()) {
        user_wait(*status);
    } else {
        pause();
    }
}

void InlineCompletion::watch(Watch& watch) {
    watch.state.store(Watch::State::kWatched, std::memory_order_relaxed);
}

bool InlineCompletion::settled(Watch& watch) {
    if (has_ended(watch)) return true;
    // Read the clock first: an answer that came before the deadline counts, however late it is
    // seen.
    const Time::Point now = time_.now();
    if (watch.status->load(std::memory_order_acquire) != 0) {
        settle(watch, Watch::State::kAnswered, now);
    } else if (now > watch.deadline) {
        settle(watch, Watch::State::kUnanswered, now);
    }
    return has_ended(watch);
}

bool InlineCompletion::await(Watch& watch, Time::Point limit) {
    if (has_ended(watch)) return true;
    for (std::uint32_t spins = 0;; ++spins) {
        const bool answered = watch.status->load(std::memory_order_acquire) != 0;
        if (answered || spins % kSpinsPerLook == 0) {
            if (settled(watch)) return true;
            if (time_.now() >= limit) return false;
        }
        time_.pass(watch.status, spins);
    }
}

void ThreadCompletion::watch(Watch& watch) {
    watch.limit.store(Time::Point::max().time_since_epoch().count(), std::memory_order_relaxed);
    watch.aside.store(false, std::memory_order_relaxed);
    watch.state.store(Watch::State::kWatched, std::memory_order_relaxed);
    {
        const MutexLock lock(mutex_);
        new_.push_back(&watch);
    }
    added_.notify_one();
}

bool ThreadCompletion::settled(Watch& watch) { return has_ended(watch); }

bool ThreadCompletion::await(Watch& watch, Time::Point limit) {
    if (has_ended(watch)) return true;
    if (limit <= time_.now()) return false;
    watch.limit.store(limit.time_since_epoch().count(), std::memory_order_release);
    auto state = Watch::State::kLimitReached;
    watch.state.compare_exchange_strong(state, Watch::State::kWatched);
    do {
        watch.state.wait(Watch::State::kWatched, std::memory_order_acquire);
        if (has_ended(watch)) return true;
        // The thread may have seen the limit of an earlier call.
        state = Watch::State::kLimitReached;
    } while (time_.now() < limit &&
             watch.state.compare_exchange_strong(state, Watch::State::kWatched));
    return has_ended(watch);
}

WaiterCost ThreadCompletion::waiter_cost() const {
    return {.busy = std::chrono::nanoseconds(busy_ns_.load(std::memory_order_relaxed)),
            .pages = pages_.load(std::memory_order_relaxed)};
}

void ThreadCompletion::run(const std::stop_token& stop) {
    std::uint32_t spins = 0;
    while (take_new(stop)) {
        const std::size_t before = watching_.size();
        poll();
        spins = watching_.size() == before ? spins + 1 : 0;
        // One record can be slept on; of several, any may be the first to be written.
        if (!watching_.empty()) {
            time_.pass(watching_.size() == 1 ? watching_.front()->status : nullptr, spins);
        }
    }
}

bool ThreadCompletion::take_new(const std::stop_token& stop) {
    MutexLock lock(mutex_);
    if (watching_.empty()) {
        // Returns false only if stop was requested and nothing is outstanding.
        if (!added_.wait(lock, stop, [&]() REQUIRES(mutex_) { return !new_.empty(); }))
            return false;
        polling_since_ = time_.now();
    } else if (std::ranges::all_of(watching_, [&](const Watch* watch) {
                   return watch->aside.load(std::memory_order_relaxed) ||
                          polling_since_ >= watch->polled_until;
               })) {
        // A stop does not end it: the watches must end first.
        added_.wait_for(lock, std::stop_token(), kAsideInterval,
                        [&]() REQUIRES(mutex_) { return !new_.empty(); });
        polling_since_ = time_.now();
    }
    watching_.insert(watching_.end(), new_.begin(), new_.end());
    new_.clear();
    return true;
}

void ThreadCompletion::poll() {
    const Time::Point now = time_.now();
    std::uint64_t pages = 0;
    std::erase_if(watching_, [&](Watch* watch) {
        const bool answered = watch->status->load(std::memory_order_acquire) != 0;
        if (!answered && now <= watch->deadline) {
            auto state = Watch::State::kWatched;
            if (now >= limit_of(*watch) &&
                watch->state.compare_exchange_strong(state, Watch::State::kLimitReached)) {
                watch->state.notify_all();
            }
            return false;
        }
        pages += watch->pages;
        settle(*watch, answered ? Watch::State::kAnswered : Watch::State::kUnanswered, now);
        // This comes last: from here on the watch may no longer exist. The wake-up uses only its
        // address.
        watch->state.notify_all();
        return true;
    });
    const auto busy = std::chrono::nanoseconds(now - polling_since_).count();
    busy_ns_.fetch_add(static_cast<std::uint64_t>(std::max<std::int64_t>(busy, 0)),
                       std::memory_order_relaxed);
    pages_.fetch_add(pages, std::memory_order_relaxed);
    polling_since_ = now;
}

}  // namespace migrate::accel::dsa
