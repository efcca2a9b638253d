// SPDX-License-Identifier: Apache-2.0
#include "engine/devices/chunk_pool.hpp"

#include <sys/mman.h>

#include <algorithm>

namespace migrate::engine {

Result<ChunkBuffer> ChunkPool::take(std::size_t size) {
    const std::uint64_t wanted = footprint(size);
    {
        const MutexLock lock(mutex_);
        const auto fits = [wanted](const ChunkBuffer& free) { return free.capacity() == wanted; };
        if (const auto found = std::find_if(free_.begin(), free_.end(), fits);
            found != free_.end()) {
            ChunkBuffer buffer = std::move(*found);
            free_.erase(found);
            buffer.set_size(size);
            return buffer;
        }
        while (!free_.empty() && held_ + wanted > limit_) {
            held_ -= free_.back().capacity();
            free_.pop_back();
        }
        held_ += wanted;
    }
    Result<Mapping> mapping = Mapping::create({.size = wanted,
                                               .protection = PROT_READ | PROT_WRITE,
                                               .flags = MAP_PRIVATE | MAP_ANONYMOUS,
                                               .what = "a chunk of device state"});
    if (!mapping) {
        const MutexLock lock(mutex_);
        held_ -= wanted;
        return std::move(mapping).error();
    }
    ChunkBuffer buffer;
    buffer.mapping_ = *std::move(mapping);
    buffer.set_size(size);
    return buffer;
}

void ChunkPool::set_limit(std::uint64_t limit) {
    const MutexLock lock(mutex_);
    limit_ = limit;
}

void ChunkPool::give_back(ChunkBuffer buffer) {
    if (buffer.capacity() == 0) return;
    const MutexLock lock(mutex_);
    free_.push_back(std::move(buffer));
}

}  // namespace migrate::engine
