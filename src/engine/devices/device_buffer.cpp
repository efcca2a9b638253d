// SPDX-License-Identifier: Apache-2.0
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
    : ids_(std::move(ids)),
      limit_(limit_bytes),
      common_limit_(limit_bytes - std::min(limit_bytes, ids_.size() * kMaxDeviceChunkBytes)),
      patience_(patience),
      pool_(limit_bytes),
      devices_(ids_.size()) {}

Result<std::size_t> DeviceBuffer::find(const devices::DeviceId& id) const {
    const auto found = std::find(ids_.begin(), ids_.end(), id);
    if (found != ids_.end()) return static_cast<std::size_t>(found - ids_.begin());
    return make_error(ErrorKind::kProtocol, "device {} is none that the sender announced",
                      id.text());
}

Status DeviceBuffer::check_new(std::size_t which, std::uint32_t index, bool config) const {
    const Device& device = devices_[which];
    const auto error = [&](std::string_view what) {
        return make_error(
            ErrorKind::kProtocol, "device {}: {} {}", ids_[which].text(),
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

DeviceBuffer::Room DeviceBuffer::room_for(std::size_t which, std::uint32_t index,
                                          std::uint64_t footprint) const {
    if (common_used_ + footprint <= common_limit_) return Room::kCommon;
    const Device& device = devices_[which];
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
    const auto which =
        waiting == devices_.end() ? 0 : static_cast<std::size_t>(waiting - devices_.begin());
    return make_error(ErrorKind::kTimeout,
                      "device {}: chunk {} has not come for {} ms, and the {} bytes of "
                      "device-state-buffer are full of later ones",
                      ids_[which].text(), devices_[which].next, patience_.count(), limit_);
}

Result<DeviceBuffer::Room> DeviceBuffer::await_room(MutexLock& lock, std::size_t which,
                                                    std::uint32_t index, std::uint64_t footprint,
                                                    const std::stop_token& stop) {
    Room room = Room::kNone;
    while (true) {
        const std::uint64_t moves = moves_;
        const bool found = changed_.wait_for(lock, stop, patience_, [&]() REQUIRES(mutex_) {
            room = room_for(which, index, footprint);
            return abandoned_ || room != Room::kNone;
        });
        if (abandoned_) {
            return Error(ErrorKind::kLostConnection, "the state of the devices is not needed");
        }
        if (found) return room;
        if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
        // SWITCHOVER_START on the main channel may arrive after the first chunks, but within
        // `patience`.
        if (!open_) {
            return make_error(ErrorKind::kTimeout,
                              "device {}: chunk {} goes beyond the {} bytes of device-state-buffer "
                              "before SWITCHOVER_START",
                              ids_[which].text(), index, limit_);
        }
        if (moves == moves_ && all_starve()) return starved();
    }
}

Result<DeviceBuffer::Chunk> DeviceBuffer::admit(std::size_t which, std::uint32_t index, bool config,
                                                std::size_t bytes, const std::stop_token& stop) {
    const std::uint64_t footprint = ChunkPool::footprint(bytes);
    {
        MutexLock lock(mutex_);
        Device& device = devices_[which];
        MIGRATE_TRY(check_new(which, index, config));
        // Recorded before the wait, so that a duplicate on another channel is detected.
        Held& held = device.held[index];
        held.chunk.index = index;
        held.chunk.config = config;
        if (config) device.config = index;
        device.seen = std::max(device.seen, index + std::uint64_t{1});
        MIGRATE_ASSIGN(const Room room, await_room(lock, which, index, footprint, stop));
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
        const MutexLock lock(mutex_);
        Held& held = devices_[device].held[chunk.index];
        held.chunk = std::move(chunk);
        held.arrived = true;
    }
    changed_.notify_all();
}

void DeviceBuffer::open() {
    {
        const MutexLock lock(mutex_);
        open_ = true;
    }
    changed_.notify_all();
}

void DeviceBuffer::end() {
    {
        const MutexLock lock(mutex_);
        ended_ = true;
    }
    changed_.notify_all();
}

void DeviceBuffer::abandon() {
    {
        const MutexLock lock(mutex_);
        abandoned_ = true;
    }
    changed_.notify_all();
}

Result<DeviceBuffer::Chunk> DeviceBuffer::next(std::size_t which, const std::stop_token& stop) {
    MutexLock lock(mutex_);
    Device& device = devices_[which];
    auto found = device.held.end();
    const bool ready = changed_.wait(lock, stop, [&]() REQUIRES(mutex_) {
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
        const MutexLock lock(mutex_);
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
    const MutexLock lock(mutex_);
    return peak_;
}

}  // namespace migrate::engine
