// SPDX-License-Identifier: Apache-2.0
// A queue from the threads that save devices to the channels that send. It is first in, first out,
// so that the channels always send the oldest unsent chunk. The receiver relies on that order: see
// DeviceBuffer. Invariant: it never holds more chunks than its capacity.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <stop_token>

#include "base/mutex.hpp"
#include "engine/devices/chunk_pool.hpp"

namespace migrate::engine {

struct OutgoingChunk {
    std::size_t device = 0;  // index in the session's list
    std::uint32_t index = 0;
    bool config = false;
    ChunkBuffer content;
};

// Thread-safe.
class DeviceQueue {
  public:
    // `capacity`: most chunks in the queue. `devices`: number of devices that put chunks.
    DeviceQueue(std::size_t capacity, std::size_t devices)
        : capacity_(capacity), unfinished_(devices) {}

    // From now on at most this many chunks wait. Any thread.
    void set_capacity(std::size_t capacity);
    // Waits for room. False if a stop was requested.
    bool put(OutgoingChunk chunk, const std::stop_token& stop);
    // One device has put its last chunk.
    void finish_one();
    // No further chunk is given out: the state is not needed any more.
    void close();

    // Returns a chunk if the queue has one now.
    std::optional<OutgoingChunk> try_take();
    // Waits for a chunk. Returns nothing if all devices have finished and no chunk is left, after
    // close(), or if a stop was requested.
    std::optional<OutgoingChunk> take(const std::stop_token& stop);

  private:
    std::optional<OutgoingChunk> take_locked() REQUIRES(mutex_);

    Mutex mutex_;
    std::size_t capacity_ GUARDED_BY(mutex_);
    StopCondition changed_;
    std::deque<OutgoingChunk> chunks_ GUARDED_BY(mutex_);
    std::size_t unfinished_ GUARDED_BY(mutex_);
    bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace migrate::engine
