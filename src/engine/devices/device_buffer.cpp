#include "engine/devices/device_buffer.hpp"

#include <algorithm>

namespace migrate::engine {

Status DeviceBuffer::check_limit(std::uint64_t limit_bytes, std::size_t devices) {
    if (limit_bytes >= 2 * devices * kMaxDeviceChunkBytes) return {};
    return make_error(ErrorKind::kUsage,
                      "device-state-buffer: {} bytes are less than two chunks of {} bytes for each "
                      "of {} devices",
                      limit_bytes, kMaxDeviceChunkBytes, devices);
}

DeviceBuffer::DeviceBuffer(std::vector<devices::DeviceId> ids, std::uint64_t limit_bytes,
                           std::chrono::milliseconds patience)
    : limit_(limit_bytes),
      common_limit_(limit_bytes - std::min(limit_bytes, ids.size() * kMaxDeviceChunkBytes)),
      patience_(patience),
      pool_(limit_bytes) {
    for (devices::DeviceId& id : ids) {
        Device device;
        device.id = std::move(id);
        devices_.push_back(std::move(device));
    }
}

Result<std::size_t> DeviceBuffer::find(const devices::DeviceId& id) const {
    for (std::size_t i = 0; i < devices_.size(); ++i) {
        if (devices_[i].id == id) return i;
    }
    return make_error(ErrorKind::kProtocol, "device {} is none that the sender announced",
                      id.text());
}

// Called with mutex_ held, like the other private functions.
Status DeviceBuffer::check_new(const Device& device, std::uint32_t index, bool config) const {
    const auto error = [&](std::string_view what) {
        return make_error(
            ErrorKind::kProtocol, "device {}: {} {}", device.id.text(),
            config ? fmt::format("configuration {}", index) : fmt::format("chunk {}", index), what);
    };
    if (index < device.next || device.held.contains(index)) return error("came twice");
    if (ended_) return error("came after the end of the round");
    if (device.config && config) return error("is not its first configuration");
    if (device.config && index > *device.config) return error("came behind its configuration");
    if (config && index + std::uint64_t{1} < device.seen) {
        return error("is not its last, as a configuration has to be");
    }
    return {};
}

DeviceBuffer::Room DeviceBuffer::room_for(const Device& device, std::uint32_t index,
                                          std::uint64_t footprint) const {
    if (common_used_ + footprint <= common_limit_) return Room::kCommon;
    return index == device.next && !device.reserve_used ? Room::kReserved : Room::kNone;
}

// True if no thread is loading a chunk and no device's next chunk has begun to arrive.
bool DeviceBuffer::all_starve() const {
    return std::all_of(devices_.begin(), devices_.end(), [](const Device& device) {
        return !device.loading && !device.held.contains(device.next);
    });
}

Error DeviceBuffer::starved() const {
    const auto waiting = std::find_if(devices_.begin(), devices_.end(),
                                      [](const Device& device) { return !device.held.empty(); });
    const Device& device = waiting == devices_.end() ? devices_.front() : *waiting;
    return make_error(ErrorKind::kTimeout,
                      "device {}: chunk {} has not come for {} ms, and the {} bytes of "
                      "device-state-buffer are full of later ones",
                      device.id.text(), device.next, patience_.count(), limit_);
}

Result<DeviceBuffer::Room> DeviceBuffer::await_room(std::unique_lock<std::mutex>& lock,
                                                    const Device& device, std::uint32_t index,
                                                    std::uint64_t footprint,
                                                    const std::stop_token& stop) {
    Room room = Room::kNone;
    while (true) {
        const std::uint64_t moves = moves_;
        const bool found = changed_.wait_for(lock, stop, patience_, [&] {
            room = room_for(device, index, footprint);
            return room != Room::kNone;
        });
        if (found) return room;
        if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
        // SWITCHOVER_START on the main channel may arrive after the first chunks, but within
        // `patience`.
        if (!open_) {
            return make_error(ErrorKind::kTimeout,
                              "device {}: chunk {} goes beyond the {} bytes of device-state-buffer "
                              "before SWITCHOVER_START",
                              device.id.text(), index, limit_);
        }
        if (moves == moves_ && all_starve()) return starved();
    }
}

Result<DeviceBuffer::Chunk> DeviceBuffer::admit(std::size_t which, std::uint32_t index, bool config,
                                                std::size_t bytes, const std::stop_token& stop) {
    const std::uint64_t footprint = ChunkPool::footprint(bytes);
    {
        std::unique_lock lock(mutex_);
        Device& device = devices_[which];
        MIGRATE_TRY(check_new(device, index, config));
        // Recorded before the wait, so that a duplicate on another channel is detected.
        Held& held = device.held[index];
        held.chunk.index = index;
        held.chunk.config = config;
        if (config) device.config = index;
        device.seen = std::max(device.seen, index + std::uint64_t{1});
        MIGRATE_ASSIGN(const Room room, await_room(lock, device, index, footprint, stop));
        if (room == Room::kCommon) {
            common_used_ += footprint;
        } else {
            device.reserve_used = true;
            held.reserved = true;
        }
        used_ += footprint;
        peak_ = std::max(peak_, used_);
        ++moves_;
    }
    Chunk chunk{index, config, {}};
    MIGRATE_ASSIGN(chunk.content, pool_.take(bytes));
    return chunk;
}

void DeviceBuffer::insert(std::size_t device, Chunk chunk) {
    {
        const std::scoped_lock lock(mutex_);
        Held& held = devices_[device].held[chunk.index];
        held.chunk = std::move(chunk);
        held.arrived = true;
    }
    changed_.notify_all();
}

void DeviceBuffer::open() {
    {
        const std::scoped_lock lock(mutex_);
        open_ = true;
    }
    changed_.notify_all();
}

void DeviceBuffer::end() {
    {
        const std::scoped_lock lock(mutex_);
        ended_ = true;
    }
    changed_.notify_all();
}

Result<DeviceBuffer::Chunk> DeviceBuffer::next(std::size_t which, const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    Device& device = devices_[which];
    auto found = device.held.end();
    const bool ready = changed_.wait(lock, stop, [&] {
        if (!open_) return false;
        found = device.held.find(device.next);
        const bool here = found != device.held.end() && found->second.arrived;
        return here || ended_;
    });
    if (!ready) return Error(ErrorKind::kCancelled, "cancelled");
    if (found == device.held.end() || !found->second.arrived) {
        return make_error(ErrorKind::kProtocol, "chunk {} is missing", device.next);
    }
    device.loading = true;
    return std::move(found->second.chunk);
}

void DeviceBuffer::loaded(std::size_t which, Chunk chunk) {
    const std::uint64_t footprint = chunk.content.capacity();
    pool_.give_back(std::move(chunk.content));
    {
        const std::scoped_lock lock(mutex_);
        Device& device = devices_[which];
        const auto found = device.held.find(device.next);
        if (found->second.reserved) {
            device.reserve_used = false;
        } else {
            common_used_ -= footprint;
        }
        used_ -= footprint;
        device.held.erase(found);
        device.loading = false;
        ++device.next;
        ++moves_;
    }
    changed_.notify_all();
}

std::uint64_t DeviceBuffer::peak_bytes() const {
    const std::scoped_lock lock(mutex_);
    return peak_;
}

}  // namespace migrate::engine
