// SPDX-License-Identifier: Apache-2.0
#include "guest/run_gate.hpp"

namespace migrate::guest {

void RunGate::pause() {
    MutexLock lock(mutex_);
    paused_ = true;
    interrupted_.store(true, std::memory_order_relaxed);
    idle_.wait(lock, [this]() REQUIRES(mutex_) { return active_ == 0; });
}

void RunGate::resume() {
    const MutexLock lock(mutex_);
    paused_ = false;
    interrupted_.store(stopped_, std::memory_order_relaxed);
    wake_.notify_all();
}

void RunGate::stop() {
    const MutexLock lock(mutex_);
    stopped_ = true;
    interrupted_.store(true, std::memory_order_relaxed);
    wake_.notify_all();
}

bool RunGate::rest(Clock::time_point until) {
    MutexLock lock(mutex_);
    --active_;
    if (active_ == 0) idle_.notify_all();
    wake_.wait_until(lock, until, [this]() REQUIRES(mutex_) { return stopped_; });
    wake_.wait(lock, [this]() REQUIRES(mutex_) { return stopped_ || !paused_; });
    ++active_;
    return !stopped_;
}

}  // namespace migrate::guest
