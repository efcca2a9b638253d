// SPDX-License-Identifier: Apache-2.0
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
    return changed_.wait(lock, stop, [this]() REQUIRES(mutex_) { return all_arrived(); });
}

bool RoundGate::wait_for_all_until(const std::stop_token& stop, Clock::time_point until) {
    MutexLock lock(mutex_);
    changed_.wait_until(lock, stop, until,
                        [this]() REQUIRES(mutex_) { return interrupted_ || all_arrived(); });
    interrupted_ = false;
    return all_arrived();
}

void RoundGate::interrupt() {
    {
        const MutexLock lock(mutex_);
        interrupted_ = true;
    }
    changed_.notify_all();
}

void RoundGate::remove(unsigned which, std::uint32_t last) {
    if (gone_.test(which)) return;
    gone_.set(which);
    if (last != 0 && last == round_) --arrived_;
}

void RoundGate::expel(unsigned which) {
    {
        const MutexLock lock(mutex_);
        remove(which, round_);
    }
    changed_.notify_all();
}

void RoundGate::leave(unsigned which, std::uint32_t last) {
    {
        const MutexLock lock(mutex_);
        remove(which, last);
    }
    changed_.notify_all();
}

void RoundGate::dismiss(unsigned which) {
    {
        const MutexLock lock(mutex_);
        gone_.set(which);
    }
    changed_.notify_all();
}

void RoundGate::forget(unsigned which) {
    const MutexLock lock(mutex_);
    gone_.reset(which);
}

void RoundGate::end_workers() {
    const MutexLock lock(mutex_);
    for (unsigned which = 0; which < workers_; ++which) gone_.set(which);
    arrived_ = 0;
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
    const auto ready = [&]() REQUIRES(mutex_) { return begins() || closed_ || gone_.test(which); };
    if (!changed_.wait(lock, stop, ready) || gone_.test(which)) return std::nullopt;
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
