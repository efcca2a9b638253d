#include "guest/run_gate.hpp"

namespace migrate::guest {

void RunGate::pause() {
    std::unique_lock lock(mutex_);
    paused_ = true;
    interrupted_.store(true, std::memory_order_relaxed);
    idle_.wait(lock, [this] { return active_ == 0; });
}

void RunGate::resume() {
    const std::scoped_lock lock(mutex_);
    paused_ = false;
    interrupted_.store(stopped_, std::memory_order_relaxed);
    wake_.notify_all();
}

void RunGate::stop() {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
    interrupted_.store(true, std::memory_order_relaxed);
    wake_.notify_all();
}

bool RunGate::rest(Clock::time_point until) {
    std::unique_lock lock(mutex_);
    --active_;
    if (active_ == 0) idle_.notify_all();
    wake_.wait_until(lock, until, [this] { return stopped_; });
    wake_.wait(lock, [this] { return stopped_ || !paused_; });
    ++active_;
    return !stopped_;
}

}  // namespace migrate::guest
