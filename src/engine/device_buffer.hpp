// Chunks of devices between the channels that receive them, in any order, and the threads that load
// them, strictly in order. Invariants: the chunks that are here, those being received and those
// being loaded included, never take more memory than the limit; no chunk is given out before
// open(); a device's chunks are given out as 0, 1, 2, …, its configuration last, each once.
//
// Why this cannot stand still: the memory of one chunk is kept for each device and is for the one
// that its thread needs next. A sender puts its devices' chunks on the channels in one order (see
// DeviceQueue), so of all that are not here yet the oldest has only older ones before it, on its
// channel and in its device: it will be its device's next. From a sender that keeps no order, a
// full buffer in which no thread finds its chunk is an error, after `patience`.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "base/error.hpp"
#include "devices/device.hpp"
#include "engine/chunk_pool.hpp"

namespace migrate::engine {

class DeviceBuffer {
  public:
    // `limit_bytes` holds two chunks a device at least; kUsage if not. `patience`: how long a
    // channel waits for room in which nothing moves.
    static Status check_limit(std::uint64_t limit_bytes, std::size_t devices);
    DeviceBuffer(std::vector<devices::DeviceId> ids, std::uint64_t limit_bytes,
                 std::chrono::milliseconds patience);

    struct Chunk {
        std::uint32_t index = 0;
        bool config = false;
        ChunkBuffer content;
    };

    // Index of the device, or an Error that names what was asked for.
    Result<std::size_t> find(const devices::DeviceId& id) const;

    // Channels: memory for a chunk of `bytes`, 1 … kMaxDeviceChunkBytes, waiting for room. An Error
    // names the device: the chunk came before, comes after the configuration, or there is no room.
    Result<Chunk> admit(std::size_t device, std::uint32_t index, bool config, std::size_t bytes,
                        const std::stop_token& stop);
    // Its content is there.
    void insert(std::size_t device, Chunk chunk);

    // From here on chunks are given out.
    void open();
    // No further chunk will come: a thread that waits for one has an error.
    void end();

    // Load thread: the next in order, waiting for it.
    Result<Chunk> next(std::size_t device, const std::stop_token& stop);
    // It was loaded, and its memory is free.
    void loaded(std::size_t device, Chunk chunk);

    std::uint64_t peak_bytes() const;

  private:
    struct Held {
        Chunk chunk;
        bool arrived = false;
        bool reserved = false;  // in the memory kept for the device
    };
    struct Device {
        devices::DeviceId id;
        std::map<std::uint32_t, Held> held;  // admitted, not yet loaded
        std::uint32_t next = 0;              // the first that is not loaded
        bool loading = false;                // … is being loaded
        bool reserve_used = false;
        std::optional<std::uint32_t> config;  // its index, once it was admitted
        std::uint64_t seen = 0;               // one more than the largest index admitted
    };

    Status check_new(const Device& device, std::uint32_t index, bool config) const;
    // Whether there is room, and which.
    enum class Room { kNone, kCommon, kReserved };
    Room room_for(const Device& device, std::uint32_t index, std::uint64_t footprint) const;
    Result<Room> await_room(std::unique_lock<std::mutex>& lock, const Device& device,
                            std::uint32_t index, std::uint64_t footprint,
                            const std::stop_token& stop);
    bool all_starve() const;
    Error starved() const;

    const std::uint64_t limit_;
    const std::uint64_t common_limit_;  // without what is kept for the devices
    const std::chrono::milliseconds patience_;
    ChunkPool pool_;
    mutable std::mutex mutex_;
    std::condition_variable_any changed_;
    std::vector<Device> devices_;  // guarded by mutex_, but for their ids; as all below
    std::uint64_t common_used_ = 0;
    std::uint64_t used_ = 0;
    std::uint64_t peak_ = 0;
    std::uint64_t moves_ = 0;  // chunks admitted or loaded so far
    bool open_ = false;
    bool ended_ = false;
};

}  // namespace migrate::engine
