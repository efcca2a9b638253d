// SPDX-License-Identifier: Apache-2.0
#include "engine/frame_queue.hpp"

namespace migrate::engine {

using transport::Frame;
using transport::FrameType;

namespace {

// No exchange has this many unanswered frames: more are a flood.
constexpr std::size_t kMaxQueuedFrames = 16;

// True for frames of which any number may follow each other.
bool is_state(FrameType type) {
    return type == FrameType::kDeviceState || type == FrameType::kRoundArrived;
}

}  // namespace

bool FrameQueue::has_room() {
    const MutexLock lock(mutex_);
    return closed_ || state_frames_ < kMaxQueuedFrames;
}

bool FrameQueue::await_room(std::chrono::milliseconds timeout, const std::stop_token& stop) {
    MutexLock lock(mutex_);
    return taken_.wait_for(lock, stop, timeout, [this]() REQUIRES(mutex_) {
        return closed_ || state_frames_ < kMaxQueuedFrames;
    });
}

Status FrameQueue::put(Frame frame) {
    {
        const MutexLock lock(mutex_);
        const bool of_state = is_state(frame.type);
        if (!of_state && frames_.size() - state_frames_ >= kMaxQueuedFrames) {
            return Error(ErrorKind::kProtocol, "more control frames than the protocol has use for");
        }
        if (of_state) ++state_frames_;
        frames_.push_back(std::move(frame));
    }
    arrived_.notify_all();
    return {};
}

void FrameQueue::close() {
    {
        const MutexLock lock(mutex_);
        closed_ = true;
    }
    arrived_.notify_all();
    taken_.notify_all();
}

void FrameQueue::reopen() {
    const MutexLock lock(mutex_);
    frames_.clear();
    state_frames_ = 0;
    closed_ = false;
}

std::optional<Frame> FrameQueue::take(std::optional<std::chrono::milliseconds> timeout,
                                      const std::stop_token& stop) {
    MutexLock lock(mutex_);
    const auto ready = [this]() REQUIRES(mutex_) { return closed_ || !frames_.empty(); };
    const bool came =
        timeout ? arrived_.wait_for(lock, stop, *timeout, ready) : arrived_.wait(lock, stop, ready);
    if (!came || frames_.empty()) return std::nullopt;
    std::optional<Frame> frame = std::move(frames_.front());
    frames_.pop_front();
    if (is_state(frame->type)) --state_frames_;
    taken_.notify_all();
    return frame;
}

}  // namespace migrate::engine
