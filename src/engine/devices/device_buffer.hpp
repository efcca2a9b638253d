// SPDX-License-Identifier: Apache-2.0
// Buffers device chunks between the channels, which receive them in any order, and the threads,
// which load them strictly in order. Invariants: the buffered chunks, including those being
// received or loaded, never take more memory than the limit; no chunk is given out before open(); a
// device's chunks are given out as 0, 1, 2, …, its configuration last, each once.
//
// Why this cannot deadlock: for each device, the memory of one chunk is reserved for the chunk that
// its thread needs next. A sender puts its devices' chunks on the channels in one order (see
// DeviceQueue). So the oldest chunk that has not arrived follows only older chunks, on its channel
// and in its device, and is its device's next one. If a sender keeps no order, a full buffer in
// which no thread finds its next chunk is an error after `patience`.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "devices/device.hpp"
#include "engine/devices/chunk_pool.hpp"

namespace migrate::engine {

class DeviceBuffer {
  public:
    // check_limit() fails with kUsage if `limit_bytes` is less than two chunks per device.
    // `patience`: a channel fails if it waits this long for room while nothing moves and no thread
    // has a chunk to load.
    static Status check_limit(std::uint64_t limit_bytes, std::size_t devices);
    DeviceBuffer(std::vector<devices::DeviceId> ids, std::uint64_t limit_bytes,
                 std::chrono::milliseconds patience);

    struct Chunk {
        std::uint32_t index = 0;
        bool config = false;
        ChunkBuffer content;
    };

    // Returns the index of the device, or an Error that names the unknown device.
    Result<std::size_t> find(const devices::DeviceId& id) const;

    // Called by channels. Waits for room and returns memory for a chunk of `bytes`, 1 …
    // kMaxDeviceChunkBytes. An Error names the device: the chunk came before, comes after the
    // configuration, or there is no room.
    Result<Chunk> admit(std::size_t device, std::uint32_t index, bool config, std::size_t bytes,
                        const std::stop_token& stop);
    // The chunk's content has arrived.
    void insert(std::size_t device, Chunk chunk);

    // Chunks are given out from now on.
    void open();
    // No further chunk will come: a thread that waits for one gets an error.
    void end();
    // The chunks are not needed any more: admit() fails with kLostConnection.
    void abandon();

    // Called by the device's load thread. Waits for the device's next chunk in order.
    Result<Chunk> next(std::size_t device, const std::stop_token& stop);
    // The chunk was loaded: frees its memory.
    void loaded(std::size_t device, Chunk chunk);

    std::uint64_t peak_bytes() const;

  private:
    struct Held {
        Chunk chunk;
        bool arrived = false;
        bool reserved = false;  // uses the memory reserved for the device
    };
    struct Device {
        std::map<std::uint32_t, Held> held;  // admitted, not yet loaded
        std::uint32_t next = 0;              // index of the first chunk that is not loaded
        bool loading = false;                // chunk `next` is being loaded
        bool reserve_used = false;
        std::optional<std::uint32_t> config;  // index of the configuration, once admitted
        std::uint64_t seen = 0;               // one more than the largest index admitted
    };

    Status check_new(std::size_t which, std::uint32_t index, bool config) const REQUIRES(mutex_);
    // The part of the memory that has room for a chunk.
    enum class Room { kNone, kCommon, kReserved };
    Room room_for(std::size_t which, std::uint32_t index, std::uint64_t footprint) const
        REQUIRES(mutex_);
    Result<Room> await_room(MutexLock& lock, std::size_t which, std::uint32_t index,
                            std::uint64_t footprint, const std::stop_token& stop) REQUIRES(mutex_);
    bool all_starve() const REQUIRES(mutex_);
    Error starved() const REQUIRES(mutex_);

    const std::vector<devices::DeviceId> ids_;
    const std::uint64_t limit_;
    const std::uint64_t common_limit_;  // limit_ without the devices' reserves
    const std::chrono::milliseconds patience_;
    ChunkPool pool_;
    mutable Mutex mutex_;
    StopCondition changed_;
    std::vector<Device> devices_ GUARDED_BY(mutex_);  // one for each of ids_
    std::uint64_t common_used_ GUARDED_BY(mutex_) = 0;
    std::uint64_t used_ GUARDED_BY(mutex_) = 0;
    std::uint64_t peak_ GUARDED_BY(mutex_) = 0;
    std::uint64_t moves_ GUARDED_BY(mutex_) = 0;  // chunks admitted or loaded so far
    bool open_ GUARDED_BY(mutex_) = false;
    bool ended_ GUARDED_BY(mutex_) = false;
    bool abandoned_ GUARDED_BY(mutex_) = false;
};

}  // namespace migrate::engine
