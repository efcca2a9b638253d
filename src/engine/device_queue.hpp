// Between the threads that save devices and the channels that send: first in, first out, so that of
// all chunks not yet sent the channels send the oldest. The receiver rests on that order: see
// DeviceBuffer. Invariant: it never holds more chunks than it was made for.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <stop_token>

#include "engine/chunk_pool.hpp"

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
    // `capacity` chunks; `devices` that hand over.
    DeviceQueue(std::size_t capacity, std::size_t devices)
        : capacity_(capacity), unfinished_(devices) {}

    // Waits for room. False if a stop was requested.
    bool put(OutgoingChunk chunk, const std::stop_token& stop);
    // A device has handed over its last.
    void finish_one();

    // A chunk if there is one now.
    std::optional<OutgoingChunk> try_take();
    // Waits for a chunk; nothing when all devices have finished, or a stop was requested.
    std::optional<OutgoingChunk> take(const std::stop_token& stop);

  private:
    std::optional<OutgoingChunk> take_locked();

    const std::size_t capacity_;
    std::mutex mutex_;
    std::condition_variable_any changed_;
    std::deque<OutgoingChunk> chunks_;  // guarded by mutex_
    std::size_t unfinished_;            // guarded by mutex_
};

}  // namespace migrate::engine
