// SPDX-License-Identifier: Apache-2.0
#include "engine/devices/device_queue.hpp"

namespace migrate::engine {

bool DeviceQueue::put(OutgoingChunk chunk, const std::stop_token& stop) {
    {
        MutexLock lock(mutex_);
        const auto has_room = [this]() REQUIRES(mutex_) { return chunks_.size() < capacity_; };
        if (!changed_.wait(lock, stop, has_room)) return false;
        chunks_.push_back(std::move(chunk));
    }
    changed_.notify_all();
    return true;
}

void DeviceQueue::set_capacity(std::size_t capacity) {
    {
        const MutexLock lock(mutex_);
        capacity_ = capacity;
    }
    changed_.notify_all();
}

void DeviceQueue::finish_one() {
    {
        const MutexLock lock(mutex_);
        --unfinished_;
    }
    changed_.notify_all();
}

void DeviceQueue::close() {
    {
        const MutexLock lock(mutex_);
        closed_ = true;
    }
    changed_.notify_all();
}

std::optional<OutgoingChunk> DeviceQueue::take_locked() {
    if (closed_ || chunks_.empty()) return std::nullopt;
    OutgoingChunk chunk = std::move(chunks_.front());
    chunks_.pop_front();
    return chunk;
}

std::optional<OutgoingChunk> DeviceQueue::try_take() {
    std::optional<OutgoingChunk> chunk;
    {
        const MutexLock lock(mutex_);
        chunk = take_locked();
    }
    if (chunk) changed_.notify_all();
    return chunk;
}

std::optional<OutgoingChunk> DeviceQueue::take(const std::stop_token& stop) {
    std::optional<OutgoingChunk> chunk;
    {
        MutexLock lock(mutex_);
        const auto ready = [this]() REQUIRES(mutex_) {
            return closed_ || !chunks_.empty() || unfinished_ == 0;
        };
        if (!changed_.wait(lock, stop, ready)) return std::nullopt;
        chunk = take_locked();
    }
    if (chunk) changed_.notify_all();
    return chunk;
}

}  // namespace migrate::engine
