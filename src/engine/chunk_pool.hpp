// Memory for chunks of device state under way. Invariant: what the pool has given out and what it
// keeps for the next, in whole pages, is never more than what was in use at once at some time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"

namespace migrate::engine {

// Of its own pages, so that what is given back is memory for the host again.
class ChunkBuffer {
  public:
    ChunkBuffer() = default;
    std::span<std::byte> bytes() const { return mapping_.bytes().first(size_); }
    std::size_t capacity() const { return mapping_.size(); }
    // At most the capacity.
    void set_size(std::size_t size) { size_ = size; }

  private:
    friend class ChunkPool;
    Mapping mapping_;
    std::size_t size_ = 0;
};

// Thread-safe.
class ChunkPool {
  public:
    // What a chunk takes of the host's memory.
    static std::uint64_t footprint(std::size_t size) {
        return (size + kPageSize - 1) / kPageSize * kPageSize;
    }
    // `limit`: what is kept and given out together is no more, if what is given out is not.
    explicit ChunkPool(std::uint64_t limit) : limit_(limit) {}

    // `size` > 0.
    Result<ChunkBuffer> take(std::size_t size);
    void give_back(ChunkBuffer buffer);

  private:
    const std::uint64_t limit_;
    std::mutex mutex_;
    std::vector<ChunkBuffer> free_;  // guarded by mutex_, as all below
    std::uint64_t held_ = 0;         // bytes, given out or free
};

}  // namespace migrate::engine
