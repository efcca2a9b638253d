#include "engine/send/give_up_timer.hpp"

#include <algorithm>

namespace migrate::engine {

GiveUpTimer::GiveUpTimer(Cancellation& cancellation, std::function<void(Reason)> give_up)
    : cancellation_(cancellation), give_up_(std::move(give_up)) {}

Status GiveUpTimer::start(ThreadTimes& times) {
    MIGRATE_ASSIGN(thread_, SessionThread::start("give_up_timer", times, cancellation_,
                                                 [this] { return run(); }));
    return {};
}

GiveUpTimer::~GiveUpTimer() {
    {
        const MutexLock lock(mutex_);
        ended_ = true;
    }
    changed_.notify_all();
    if (thread_) thread_->join();
}

void GiveUpTimer::set(Reason reason, std::optional<Clock::time_point> moment) {
    {
        const MutexLock lock(mutex_);
        moments_[static_cast<std::size_t>(reason)] = moment;
        any_change_ = true;
    }
    changed_.notify_all();
}

Status GiveUpTimer::run() {
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
            const auto reason = static_cast<Reason>(first - moments_.begin());
            first->reset();
            lock.unlock();
            give_up_(reason);
            lock.lock();
        }
    }
    return {};
}

}  // namespace migrate::engine
