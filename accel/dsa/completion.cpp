#include "accel/dsa/completion.hpp"

#include <algorithm>
#include <thread>

#include "accel/dsa/instructions.hpp"

namespace migrate::accel::dsa {

namespace {

// A device needs some microseconds for a batch of 128 pages. PAUSE covers that; a longer wait may
// need this CPU, so it yields.
constexpr std::uint32_t kSpinsBeforeYield = 2000;
// Number of spins between two reads of the clock.
constexpr std::uint32_t kSpinsPerLook = 64;

void settle(Watch& watch, Watch::State state, Time::Point now) {
    watch.seen = now;
    watch.state.store(state, std::memory_order_release);
}

bool is(const Watch& watch, Watch::State state) {
    return watch.state.load(std::memory_order_acquire) == state;
}

}  // namespace

void RealTime::pass(const std::atomic<std::uint8_t>& status, std::uint32_t spins) {
    if (spins >= kSpinsBeforeYield) {
        std::this_thread::yield();
    } else if (has_user_wait()) {
        user_wait(status);
    } else {
        pause();
    }
}

void InlineCompletion::watch(Watch& watch) {
    watch.state.store(Watch::State::kWatched, std::memory_order_relaxed);
}

bool InlineCompletion::ready(Watch& watch) {
    if (is(watch, Watch::State::kWatched) && watch.status->load(std::memory_order_acquire) != 0) {
        settle(watch, Watch::State::kAnswered, time_.now());
    }
    return is(watch, Watch::State::kAnswered);
}

bool InlineCompletion::await(Watch& watch) {
    for (std::uint32_t spins = 0; is(watch, Watch::State::kWatched); ++spins) {
        // Read the clock first: an answer that came before the deadline counts, however late it is
        // seen.
        const bool late =
            spins % kSpinsPerLook == kSpinsPerLook - 1 && time_.now() > watch.deadline;
        if (ready(watch)) return true;
        if (late) {
            settle(watch, Watch::State::kUnanswered, time_.now());
        } else {
            time_.pass(*watch.status, spins);
        }
    }
    return is(watch, Watch::State::kAnswered);
}

void ThreadCompletion::watch(Watch& watch) {
    watch.state.store(Watch::State::kWatched, std::memory_order_relaxed);
    {
        const MutexLock lock(mutex_);
        new_.push_back(&watch);
    }
    added_.notify_one();
}

bool ThreadCompletion::ready(Watch& watch) { return is(watch, Watch::State::kAnswered); }

bool ThreadCompletion::await(Watch& watch) {
    watch.state.wait(Watch::State::kWatched, std::memory_order_acquire);
    return is(watch, Watch::State::kAnswered);
}

void ThreadCompletion::run(const std::stop_token& stop) {
    std::uint32_t spins = 0;
    while (take_new(stop)) {
        const std::size_t before = watching_.size();
        poll();
        spins = watching_.size() == before ? spins + 1 : 0;
        if (!watching_.empty()) time_.pass(*watching_.front()->status, spins);
    }
}

bool ThreadCompletion::take_new(const std::stop_token& stop) {
    MutexLock lock(mutex_);
    if (watching_.empty()) {
        // Returns false only if stop was requested and nothing is outstanding.
        if (!added_.wait(lock, stop, [&]() REQUIRES(mutex_) { return !new_.empty(); }))
            return false;
    }
    watching_.insert(watching_.end(), new_.begin(), new_.end());
    new_.clear();
    return true;
}

void ThreadCompletion::poll() {
    const Time::Point now = time_.now();
    std::erase_if(watching_, [&](Watch* watch) {
        const bool answered = watch->status->load(std::memory_order_acquire) != 0;
        if (!answered && now <= watch->deadline) return false;
        settle(*watch, answered ? Watch::State::kAnswered : Watch::State::kUnanswered, now);
        // This comes last: from here on the watch may no longer exist. The wake-up uses only its
        // address.
        watch->state.notify_all();
        return true;
    });
}

}  // namespace migrate::accel::dsa
