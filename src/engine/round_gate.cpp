#include "engine/round_gate.hpp"

namespace migrate::engine {

void RoundGate::open(std::uint32_t round) {
    {
        const MutexLock lock(mutex_);
        round_ = round;
        arrived_ = 0;
    }
    changed_.notify_all();
}

bool RoundGate::wait_for_all(const std::stop_token& stop) {
    MutexLock lock(mutex_);
    return changed_.wait(lock, stop, [this]() REQUIRES(mutex_) { return arrived_ == workers_; });
}

bool RoundGate::wait_for_all_until(const std::stop_token& stop, Clock::time_point until) {
    MutexLock lock(mutex_);
    return changed_.wait_until(lock, stop, until,
                               [this]() REQUIRES(mutex_) { return arrived_ == workers_; });
}

bool RoundGate::any_arrived() {
    const MutexLock lock(mutex_);
    return arrived_ != 0;
}

void RoundGate::admit(unsigned workers) {
    {
        const MutexLock lock(mutex_);
        workers_ = workers;
    }
    changed_.notify_all();
}

void RoundGate::close() {
    {
        const MutexLock lock(mutex_);
        closed_ = true;
    }
    changed_.notify_all();
}

std::optional<std::uint32_t> RoundGate::next_round(unsigned which, std::uint32_t last,
                                                   const std::stop_token& stop) {
    MutexLock lock(mutex_);
    const auto begins = [&]() REQUIRES(mutex_) { return round_ > last && which < workers_; };
    const auto ready = [&]() REQUIRES(mutex_) { return begins() || closed_; };
    if (!changed_.wait(lock, stop, ready)) return std::nullopt;
    if (begins()) return round_;
    return std::nullopt;
}

void RoundGate::arrive() {
    {
        const MutexLock lock(mutex_);
        ++arrived_;
    }
    changed_.notify_all();
}

}  // namespace migrate::engine
