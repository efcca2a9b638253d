// SPDX-License-Identifier: Apache-2.0
#include "engine/postcopy/postcopy_progress.hpp"

namespace migrate::engine {

bool PostcopyProgress::set(PostcopyState state, std::string reason) {
    {
        const MutexLock lock(mutex_);
        if (state_ == PostcopyState::kComplete) return false;
        const Clock::time_point now = Clock::now();
        const bool was_interrupted = is_interrupted();
        state_ = state;
        reason_ = std::move(reason);
        if (state != PostcopyState::kNone && !began_) began_ = now;
        if (!was_interrupted && is_interrupted()) {
            paused_at_ = now;
            ++interruptions_;
        }
        if (was_interrupted && !is_interrupted()) {
            paused_ += now - *paused_at_;
            paused_at_.reset();
        }
        if (state == PostcopyState::kComplete) ended_ = now;
    }
    changed_.notify_all();
    return true;
}

PostcopyState PostcopyProgress::state() const {
    const MutexLock lock(mutex_);
    return state_;
}

std::string PostcopyProgress::reason() const {
    const MutexLock lock(mutex_);
    return reason_;
}

void PostcopyProgress::stop() {
    {
        const MutexLock lock(mutex_);
        stopped_ = true;
    }
    changed_.notify_all();
}

std::optional<PostcopyState> PostcopyProgress::await_change(PostcopyState from) {
    MutexLock lock(mutex_);
    changed_.wait(lock, [&]() REQUIRES(mutex_) { return stopped_ || state_ != from; });
    if (state_ == from) return std::nullopt;
    return state_;
}

PostcopyProgress::Figures PostcopyProgress::figures() const {
    const MutexLock lock(mutex_);
    Figures figures{.state = state_, .interruptions = interruptions_};
    if (!began_) return figures;
    const Clock::time_point end = ended_.value_or(Clock::now());
    figures.duration = std::chrono::duration_cast<Microseconds>(end - *began_);
    figures.paused = std::chrono::duration_cast<Microseconds>(
        paused_ + (paused_at_ ? end - *paused_at_ : Clock::duration{}));
    return figures;
}

}  // namespace migrate::engine
