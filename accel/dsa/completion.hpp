// Waits for a device's answers: in the thread that submitted, or in one thread for all. Invariant:
// every wait ends with an answer or, after the deadline, with the result that there is none.
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
    // Waits a little, at most until `status` may have been written. `spins` is the number of
    // earlier calls in the same wait.
    virtual void pass(const std::atomic<std::uint8_t>& status, std::uint32_t spins) = 0;
};

// Uses UMWAIT if the CPU has it; otherwise PAUSE and, in a long wait, yields to other threads.
class RealTime final : public Time {
  public:
    Point now() override { return std::chrono::steady_clock::now(); }
    void pass(const std::atomic<std::uint8_t>& status, std::uint32_t spins) override;
};

// One awaited answer. It must not be moved or destroyed while it is watched.
struct Watch {
    enum class State : std::uint32_t { kWatched, kAnswered, kUnanswered };

    const std::atomic<std::uint8_t>* status = nullptr;  // status of the completion record
    Time::Point submitted;
    Time::Point deadline;
    Time::Point seen;  // time at which the answer was seen
    std::atomic<State> state{State::kWatched};
};

class Completion {
  public:
    Completion() = default;
    Completion(const Completion&) = delete;
    Completion& operator=(const Completion&) = delete;
    virtual ~Completion() = default;

    // Starts to wait for the answer; `status`, `submitted` and `deadline` are set.
    virtual void watch(Watch& watch) = 0;
    // Returns true if the answer is there. Does not block.
    virtual bool ready(Watch& watch) = 0;
    // Blocks. Returns false if the deadline passed without an answer.
    virtual bool await(Watch& watch) = 0;
    virtual Time& time() = 0;
};

// accel-completion=inline: await() polls. Any number of threads may use it.
class InlineCompletion final : public Completion {
  public:
    explicit InlineCompletion(Time& time) : time_(time) {}
    void watch(Watch& watch) override;
    bool ready(Watch& watch) override;
    bool await(Watch& watch) override;
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
    bool ready(Watch& watch) override;
    bool await(Watch& watch) override;
    Time& time() override { return time_; }

    // The thread's work; returns when stop is requested and nothing is outstanding.
    void run(const std::stop_token& stop);

  private:
    // Sleeps while there is nothing to poll. Returns false if run() must end.
    bool take_new(const std::stop_token& stop);
    void poll();

    Time& time_;
    Mutex mutex_;
    StopCondition added_;
    std::vector<Watch*> new_ GUARDED_BY(mutex_);
    std::vector<Watch*> watching_;  // used only by run()
};

}  // namespace migrate::accel::dsa
