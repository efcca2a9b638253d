// Pausing vCPU threads. Invariant: between pause() and resume() no vCPU thread is outside of
// rest(), where it writes nothing; and what it wrote before is seen by whoever paused it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "guest/pace.hpp"

namespace migrate::guest {

class RunGate {
  public:
    // Paused; each of the vCPU threads calls rest() before all else.
    explicit RunGate(unsigned vcpus) : active_(vcpus) {}

    // Waits until every vCPU rests. One that sleeps for its pace or throttle is not even woken.
    void pause();
    void resume();
    // For good: every rest() returns false.
    void stop();

    // For the vCPU, after every page: it must call rest() before the next.
    bool interrupted() const { return interrupted_.load(std::memory_order_relaxed); }
    // Returns at `until`, or, if that is later, when it is resumed. False: the thread is to end.
    bool rest(Clock::time_point until);

  private:
    // Only says that it is worth to take the mutex, which orders everything.
    std::atomic<bool> interrupted_{true};
    std::mutex mutex_;
    std::condition_variable wake_;  // resumed or stopped
    std::condition_variable idle_;  // active_ is 0
    bool paused_ = true;            // guarded by mutex_, as all below
    bool stopped_ = false;
    unsigned active_;  // threads outside of rest()
};

}  // namespace migrate::guest
