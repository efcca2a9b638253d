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

void RoundGate::close() {
    {
        const MutexLock lock(mutex_);
        closed_ = true;
    }
    changed_.notify_all();
}

std::optional<std::uint32_t> RoundGate::next_round(std::uint32_t last,
                                                   const std::stop_token& stop) {
    MutexLock lock(mutex_);
    const auto ready = [&]() REQUIRES(mutex_) { return round_ > last || closed_; };
    if (!changed_.wait(lock, stop, ready)) return std::nullopt;
    if (round_ > last) return round_;
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
