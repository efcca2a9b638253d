#include "engine/devices/device_queue.hpp"

namespace migrate::engine {

bool DeviceQueue::put(OutgoingChunk chunk, const std::stop_token& stop) {
    {
        std::unique_lock lock(mutex_);
        if (!changed_.wait(lock, stop, [this] { return chunks_.size() < capacity_; })) return false;
        chunks_.push_back(std::move(chunk));
    }
    changed_.notify_all();
    return true;
}

void DeviceQueue::finish_one() {
    {
        const std::scoped_lock lock(mutex_);
        --unfinished_;
    }
    changed_.notify_all();
}

// Called with mutex_ held.
std::optional<OutgoingChunk> DeviceQueue::take_locked() {
    if (chunks_.empty()) return std::nullopt;
    OutgoingChunk chunk = std::move(chunks_.front());
    chunks_.pop_front();
    return chunk;
}

std::optional<OutgoingChunk> DeviceQueue::try_take() {
    std::optional<OutgoingChunk> chunk;
    {
        const std::scoped_lock lock(mutex_);
        chunk = take_locked();
    }
    if (chunk) changed_.notify_all();
    return chunk;
}

std::optional<OutgoingChunk> DeviceQueue::take(const std::stop_token& stop) {
    std::optional<OutgoingChunk> chunk;
    {
        std::unique_lock lock(mutex_);
        const auto ready = [this] { return !chunks_.empty() || unfinished_ == 0; };
        if (!changed_.wait(lock, stop, ready)) return std::nullopt;
        chunk = take_locked();
    }
    if (chunk) changed_.notify_all();
    return chunk;
}

}  // namespace migrate::engine
