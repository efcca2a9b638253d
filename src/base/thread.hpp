// SPDX-License-Identifier: Apache-2.0
// The only way in which this program starts a thread. Thread: its start may fail with an Error, and
// no exception leaves it. SessionThread: a thread of a session, which also records its run time and
// hands its error to the session, so that a thread that fails wakes the others.
#pragma once

#include <csignal>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/cancellation.hpp"
#include "base/error.hpp"
#include "base/mutex.hpp"

namespace migrate {

// The time that the calling thread has run on a CPU, in ns, from /proc/thread-self/schedstat; the
// thread's CPU clock if the kernel has no schedstats.
std::uint64_t thread_run_time_ns();

// Names the calling thread (the kernel keeps 15 characters).
void name_this_thread(const std::string& name);

// While it lives, the calling thread and every thread that it starts block all signals that they do
// not raise themselves. For threads
// that begin before the program decides which thread takes signals.
class SignalsBlocked {
  public:
    SignalsBlocked();
    ~SignalsBlocked();
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

  private:
    sigset_t before_{};
};

struct ThreadTime {
    std::string name;
    std::uint64_t run_time_ns = 0;
};

// Run times of threads that have ended, in the order in which they ended. Thread-safe.
class ThreadTimes {
  public:
    void add(ThreadTime time);
    std::vector<ThreadTime> all() const;

  private:
    mutable Mutex mutex_;
    std::vector<ThreadTime> times_ GUARDED_BY(mutex_);
};

// Gives the calling thread its name, runs `work`, and adds the thread's run time to `times`.
void run_timed(const std::string& name, ThreadTimes& times, const std::function<void()>& work);

// The error of a thread or process that could not be started: "cannot start WHAT: strerror(CODE)",
// and which limits may be the cause.
Error start_error(std::string_view what, int code);

// A running thread, or none. Joined by join() or the destructor, which requests its stop first.
class Thread {
  public:
    using Body = std::function<Status(const std::stop_token&)>;
    using OnError = std::function<void(Error)>;

    Thread() = default;
    // Runs `body` on a thread of the given name. An Error that it returns, or an exception as an
    // Error, goes to `on_error` on that thread. `on_error` does not throw. Fails with
    // start_error().
    static Result<Thread> start(const std::string& name, Body body, OnError on_error) noexcept;

    bool joinable() const { return thread_.joinable(); }
    void request_stop() { thread_.request_stop(); }
    void join() {
        if (thread_.joinable()) thread_.join();
    }
    // Lets the thread run without being joined: everything that it uses must live as long as it
    // does.
    void detach() { thread_.detach(); }

  private:
    explicit Thread(std::jthread thread) : thread_(std::move(thread)) {}

    std::jthread thread_;
};

// Starts up to `count` helpers named NAME_1, NAME_2, …, for work that the caller can do alone:
// fewer if the system cannot start more. An error of a helper goes to `on_error`.
std::vector<Thread> start_helpers(const std::string& name, unsigned count,
                                  const std::function<Status(const std::stop_token&)>& body,
                                  const std::function<void(Error)>& on_error);

// Runs `body` on a thread of the given name. An Error that it returns goes to `cancellation`
// (kLostConnection by fail_lost_connection), an exception as kFailed. Joined by join() or the
// destructor. Code that keeps threads in a list must reserve the list's room first: a thread that
// waits for its session cannot be joined while the session is not stopped.
class SessionThread {
  public:
    // `times` and `cancellation` outlive the thread. Fails with start_error().
    static Result<SessionThread> start(const std::string& name, ThreadTimes& times,
                                       Cancellation& cancellation,
                                       std::function<Status()> body) noexcept;
    void join() { thread_.join(); }

  private:
    explicit SessionThread(Thread thread) : thread_(std::move(thread)) {}

    Thread thread_;
};

// For tests. While a hook exists, each start of a thread calls it first; a result other than 0 is
// the errno with which the start fails. At most one hook at a time.
class ThreadStartHook {
  public:
    using Hook = std::function<int(std::string_view name)>;
    explicit ThreadStartHook(Hook hook);
    ~ThreadStartHook();
    ThreadStartHook(const ThreadStartHook&) = delete;
    ThreadStartHook& operator=(const ThreadStartHook&) = delete;
};

}  // namespace migrate
