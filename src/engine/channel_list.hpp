// SPDX-License-Identifier: Apache-2.0
// The data channels of one connection, in the order of their ids. Channels are added by the
// session's thread and never removed; reports read the list at any time.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "base/mutex.hpp"

namespace migrate::engine {

// `Channel` is SendChannel or RecvChannel. Thread-safe; a channel itself may be used by any thread
// only as it allows.
template <typename Channel>
class ChannelList {
  public:
    // Makes room, so that add() cannot run out of memory: a channel is added when its thread
    // already uses it.
    void reserve(std::size_t channels) {
        const MutexLock lock(mutex_);
        channels_.reserve(channels);
    }
    void add(std::unique_ptr<Channel> channel) {
        const MutexLock lock(mutex_);
        channels_.push_back(std::move(channel));
    }
    std::size_t size() const {
        const MutexLock lock(mutex_);
        return channels_.size();
    }
    // Calls `use` with every channel. `use` does not use this list.
    template <typename Use>
    void each(const Use& use) const {
        const MutexLock lock(mutex_);
        for (const auto& channel : channels_) use(*channel);
    }

  private:
    mutable Mutex mutex_;
    std::vector<std::unique_ptr<Channel>> channels_ GUARDED_BY(mutex_);
};

}  // namespace migrate::engine
