// SPDX-License-Identifier: Apache-2.0
#include "engine/send/limit_timer.hpp"

#include <algorithm>

namespace migrate::engine {

LimitTimer::LimitTimer(Cancellation& cancellation, std::function<void(Limit)> on_expiry)
    : cancellation_(cancellation), on_expiry_(std::move(on_expiry)) {}

Status LimitTimer::start(ThreadTimes& times) {
    MIGRATE_ASSIGN(thread_, SessionThread::start("limit_timer", times, cancellation_,
                                                 [this] { return run(); }));
    return {};
}

LimitTimer::~LimitTimer() {
    {
        const MutexLock lock(mutex_);
        ended_ = true;
    }
    changed_.notify_all();
    if (thread_) thread_->join();
}

void LimitTimer::set(Limit limit, std::optional<Clock::time_point> moment) {
    {
        const MutexLock lock(mutex_);
        moments_[static_cast<std::size_t>(limit)] = moment;
        any_change_ = true;
    }
    changed_.notify_all();
}

Status LimitTimer::run() {
    const std::stop_token stop = cancellation_.token();
    MutexLock lock(mutex_);
    const auto woken = [this]() REQUIRES(mutex_) { return any_change_ || ended_; };
    while (!ended_ && !stop.stop_requested()) {
        any_change_ = false;
        const auto first =
            std::min_element(moments_.begin(), moments_.end(),
                             [](const auto& a, const auto& b) { return a && (!b || *a < *b); });
        if (!*first) {
            changed_.wait(lock, stop, woken);
        } else if (Clock::now() < **first) {
            changed_.wait_until(lock, stop, **first, woken);
        } else {
            const auto limit = static_cast<Limit>(first - moments_.begin());
            first->reset();
            lock.unlock();
            on_expiry_(limit);
            lock.lock();
        }
    }
    return {};
}

}  // namespace migrate::engine
