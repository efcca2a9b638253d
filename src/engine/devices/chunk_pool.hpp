// SPDX-License-Identifier: Apache-2.0
// Memory for chunks of device state in transit. Invariant: the chunks given out and the free ones
// take no more than the limit together, in whole pages, unless the chunks given out alone exceed
// it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/mutex.hpp"
#include "base/units.hpp"

namespace migrate::engine {

// A chunk has its own pages, so that freeing it returns memory to the host.
class ChunkBuffer {
  public:
    ChunkBuffer() = default;
    std::span<std::byte> bytes() const { return mapping_.bytes().first(size_); }
    std::size_t capacity() const { return mapping_.size(); }
    // `size` is at most the capacity.
    void set_size(std::size_t size) { size_ = size; }

  private:
    friend class ChunkPool;
    Mapping mapping_;
    std::size_t size_ = 0;
};

// Thread-safe.
class ChunkPool {
  public:
    // Host memory that a chunk of `size` bytes takes: whole pages, in bytes.
    static std::uint64_t footprint(std::size_t size) {
        return (size + kPageSize - 1) / kPageSize * kPageSize;
    }
    // `limit`, in bytes: the pool frees unused chunks to stay within it, but does not refuse a
    // chunk.
    explicit ChunkPool(std::uint64_t limit) : limit_(limit) {}

    // `size` is in bytes and above 0.
    Result<ChunkBuffer> take(std::size_t size);
    void set_limit(std::uint64_t limit);
    void give_back(ChunkBuffer buffer);

  private:
    Mutex mutex_;
    std::uint64_t limit_ GUARDED_BY(mutex_);
    std::vector<ChunkBuffer> free_ GUARDED_BY(mutex_);
    std::uint64_t held_ GUARDED_BY(mutex_) = 0;  // bytes of chunks given out or free
};

}  // namespace migrate::engine
