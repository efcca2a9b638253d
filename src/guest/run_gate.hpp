// SPDX-License-Identifier: Apache-2.0
// Pauses vCPU threads. Invariant: between pause() and resume() every vCPU thread is inside rest(),
// where it writes nothing; the thread that paused it sees everything that it wrote before.
#pragma once

#include <atomic>

#include "base/mutex.hpp"
#include "guest/pace.hpp"

namespace migrate::guest {

class RunGate {
  public:
    // The gate starts paused; each vCPU thread calls rest() first.
    explicit RunGate(unsigned vcpus) : active_(vcpus) {}

    // Waits until every vCPU rests. Does not wake a vCPU that sleeps because of its pace or
    // throttle.
    void pause();
    void resume();
    // Permanent: every rest() returns false from now on.
    void stop();

    // A vCPU calls this after every page; if true, it must call rest() before the next page.
    bool interrupted() const { return interrupted_.load(std::memory_order_relaxed); }
    // Returns at `until` or when the gate is resumed, whichever is later. Returns false if the
    // thread must end.
    bool rest(Clock::time_point until);

  private:
    // Only a hint that the thread must take the mutex, which orders everything.
    std::atomic<bool> interrupted_{true};
    Mutex mutex_;
    Condition wake_;  // resumed or stopped
    Condition idle_;  // active_ is 0
    bool paused_ GUARDED_BY(mutex_) = true;
    bool stopped_ GUARDED_BY(mutex_) = false;
    unsigned active_ GUARDED_BY(mutex_);  // threads outside of rest()
};

}  // namespace migrate::guest
