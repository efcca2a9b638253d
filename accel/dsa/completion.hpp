// SPDX-License-Identifier: Apache-2.0
// Waits for a device's answers: in the thread that submitted, or in one thread for all. Invariant:
// every wait ends with an answer, at the caller's limit or, after the deadline, with the result
// that there is no answer.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <stop_token>
#include <vector>

#include "base/mutex.hpp"

namespace migrate::accel::dsa {

// Time and waiting, so that tests can replace both.
class Time {
  public:
    using Point = std::chrono::steady_clock::time_point;

    Time() = default;
    Time(const Time&) = delete;
    Time& operator=(const Time&) = delete;
    virtual ~Time() = default;

    virtual Point now() = 0;
    // One step of a wait, which the caller repeats. `status` is the one record that ends the wait,
    // so that the CPU may sleep until it is written; null if anything else may end it. `spins` is
    // the number of earlier steps of the same wait.
    virtual void pass(const std::atomic<std::uint8_t>* status, std::uint32_t spins) = 0;
};

// Uses UMWAIT for a record if the CPU has it; otherwise PAUSE and, in a long wait, yields to other
// threads.
class RealTime final : public Time {
  public:
    Point now() override { return std::chrono::steady_clock::now(); }
    void pass(const std::atomic<std::uint8_t>* status, std::uint32_t spins) override;
};

// One awaited answer. It must not be moved or destroyed while it is watched.
struct Watch {
    enum class State : std::uint32_t {
        kWatched,
        kLimitReached,  // still watched: the limit of await() has passed (accel-completion=thread)
        kAnswered,
        kUnanswered,  // the deadline passed
    };

    const std::atomic<std::uint8_t>* status = nullptr;  // status of the completion record
    std::uint32_t pages = 0;                            // pages that the descriptor checks
    Time::Point submitted;
    Time::Point deadline;
    // Until then a thread polls for the answer; after it, nobody is expected to wait.
    Time::Point polled_until = Time::Point::max();
    Time::Point seen;  // time at which the answer, or its absence, was seen
    std::atomic<State> state{State::kWatched};
    // Limit of await(), as a time since the clock's epoch.
    std::atomic<Time::Point::rep> limit{Time::Point::max().time_since_epoch().count()};
    std::atomic<bool> aside{false};  // see Completion::set_aside()

    bool answered() const { return state.load(std::memory_order_acquire) == State::kAnswered; }
};

// The CPU time of a thread that only waits, and the pages whose answers it brought.
struct WaiterCost {
    std::chrono::nanoseconds busy{};
    std::uint64_t pages = 0;
};

class Completion {
  public:
    Completion() = default;
    Completion(const Completion&) = delete;
    Completion& operator=(const Completion&) = delete;
    virtual ~Completion() = default;

    // Starts to wait for the answer; `status`, `pages`, `submitted`, `deadline` and `polled_until`
    // are set.
    virtual void watch(Watch& watch) = 0;
    // Returns true if the watch has ended: answered() says how. Does not block.
    virtual bool settled(Watch& watch) = 0;
    // Blocks until the watch has ended, and returns true; or until `limit`, and returns false: the
    // watch goes on then.
    virtual bool await(Watch& watch, Time::Point limit) = 0;
    // Notes that nobody waits for the answer any more, so that it may be seen a millisecond late;
    // likewise after `polled_until`.
    virtual void set_aside(Watch& watch) { static_cast<void>(watch); }
    // Returns true if the watch may be destroyed before it has ended. Does not block.
    virtual bool forgets() const = 0;
    virtual Time& time() = 0;
    // Sums since the start. Nothing if the callers of await() wait themselves. Any thread.
    virtual WaiterCost waiter_cost() const { return {}; }
};

// accel-completion=inline: await() polls. Any number of threads may use it.
class InlineCompletion final : public Completion {
  public:
    explicit InlineCompletion(Time& time) : time_(time) {}
    void watch(Watch& watch) override;
    bool settled(Watch& watch) override;
    bool await(Watch& watch, Time::Point limit) override;
    bool forgets() const override { return true; }
    Time& time() override { return time_; }

  private:
    Time& time_;
};

// accel-completion=thread, the published model: run() polls for all threads, and sleeps while
// nothing is outstanding; await() sleeps until run() has seen the answer.
class ThreadCompletion final : public Completion {
  public:
    explicit ThreadCompletion(Time& time) : time_(time) {}
    void watch(Watch& watch) override;
    bool settled(Watch& watch) override;
    bool await(Watch& watch, Time::Point limit) override;
    void set_aside(Watch& watch) override { watch.aside.store(true, std::memory_order_relaxed); }
    bool forgets() const override { return false; }
    Time& time() override { return time_; }
    WaiterCost waiter_cost() const override;

    // The thread's work; returns when stop is requested and nothing is outstanding.
    void run(const std::stop_token& stop);

  private:
    // Sleeps while there is nothing to poll, or nothing that a channel waits for. Returns false if
    // run() must end.
    bool take_new(const std::stop_token& stop);
    void poll();

    Time& time_;
    Mutex mutex_;
    StopCondition added_;
    std::vector<Watch*> new_ GUARDED_BY(mutex_);
    std::vector<Watch*> watching_;  // used only by run()
    Time::Point polling_since_;     // used only by run()
    std::atomic<std::uint64_t> busy_ns_{0};
    std::atomic<std::uint64_t> pages_{0};
};

}  // namespace migrate::accel::dsa
