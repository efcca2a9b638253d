// The one way a session starts a thread: it names it for the kernel, keeps its run time, and hands
// its error to the session, so that a thread that fails wakes the others.
#pragma once

#include <csignal>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/cancellation.hpp"
#include "base/error.hpp"

namespace migrate {

// Time the calling thread has run on a CPU, in ns, from /proc/thread-self/schedstat; the thread's
// CPU clock where the kernel has no schedstats.
std::uint64_t thread_run_time_ns();

// Names the calling thread (the kernel keeps 15 characters).
void name_this_thread(const std::string& name);

// While it lives the calling thread, and every thread it starts, blocks all signals: for threads
// that begin before the program decides who takes them.
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

// Run times of threads that ended, in the order in which they ended. Thread-safe.
class ThreadTimes {
  public:
    void add(ThreadTime time);
    std::vector<ThreadTime> all() const;

  private:
    mutable std::mutex mutex_;
    std::vector<ThreadTime> times_;  // guarded by mutex_
};

// Gives the calling thread its name, runs `work`, and adds the thread's run time to `times`.
void run_timed(const std::string& name, ThreadTimes& times, const std::function<void()>& work);

// Runs `body` on a thread of the given name. An Error it returns goes to `cancellation`
// (kLostConnection by fail_lost_connection). Joined by join() or the destructor. `times` and
// `cancellation` outlive the thread.
class SessionThread {
  public:
    SessionThread(std::string name, ThreadTimes& times, Cancellation& cancellation,
                  std::function<Status()> body);
    void join();

  private:
    std::jthread thread_;
};

}  // namespace migrate
