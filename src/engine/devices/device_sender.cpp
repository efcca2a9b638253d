// SPDX-License-Identifier: Apache-2.0
#include "engine/devices/device_sender.hpp"

#include "transport/device_chunk.hpp"

namespace migrate::engine {
namespace {

using Clock = DeviceCounters::Clock;

// The default size of a memory packet, since chunks and memory packets take turns.
constexpr std::size_t kChunkBytes = std::size_t{512} * 1024;
constexpr std::size_t kQueuedPerChannel = 2;

// Beside the queue, each device fills one chunk and each channel sends one.
std::uint64_t pool_bytes(std::size_t devices, unsigned channels) {
    return (kQueuedPerChannel * channels + devices + channels) * kMaxDeviceChunkBytes;
}

transport::DeviceChunkHeader header_of(const devices::DeviceId& id, const OutgoingChunk& chunk) {
    return {id.name, id.instance, chunk.index, chunk.config};
}

}  // namespace

DeviceSender::DeviceSender(std::vector<Entry> devices, unsigned channels)
    : pool_(pool_bytes(devices.size(), channels)),
      queue_(kQueuedPerChannel * channels, devices.size()) {
    for (Entry& entry : devices) {
        devices_.push_back(std::make_unique<Device>());
        devices_.back()->entry = std::move(entry);
    }
}

void DeviceSender::set_channels(unsigned channels) {
    pool_.set_limit(pool_bytes(devices_.size(), channels));
    queue_.set_capacity(kQueuedPerChannel * channels);
}

DeviceSender::~DeviceSender() { join(); }

Status DeviceSender::start(ThreadTimes& times, Cancellation& cancellation) {
    threads_.reserve(devices_.size());
    for (std::size_t i = 0; i < devices_.size(); ++i) {
        const auto save_to_queue = [this, i, &cancellation]() -> Status {
            const std::stop_token stop = cancellation.token();
            MIGRATE_TRY(save(i, kChunkBytes, stop, [&](OutgoingChunk chunk) -> Status {
                const Clock::time_point began = Clock::now();
                const bool taken = queue_.put(std::move(chunk), stop);
                DeviceCounters::add_since(devices_[i]->counters.wait_us, began);
                return taken ? Status() : Status(Error(ErrorKind::kCancelled, "cancelled"));
            }));
            queue_.finish_one();
            return {};
        };
        MIGRATE_ASSIGN(SessionThread thread,
                       SessionThread::start("dev_save_" + devices_[i]->entry.id.text(), times,
                                            cancellation, save_to_queue));
        threads_.push_back(std::move(thread));
    }
    return {};
}

Status DeviceSender::save(std::size_t which, std::size_t chunk_bytes, const std::stop_token& stop,
                          const Emit& emit) {
    Device& device = *devices_[which];
    const Clock::time_point began = Clock::now();
    Status saved = save_chunks(which, chunk_bytes, stop, emit);
    if (!saved) return std::move(saved).error().with_context(device.context() + ", saving");
    DeviceCounters::add_since(device.counters.total_us, began);
    device.counters.complete.store(true, std::memory_order_relaxed);
    return {};
}

Status DeviceSender::save_chunks(std::size_t which, std::size_t chunk_bytes,
                                 const std::stop_token& stop, const Emit& emit) {
    Device& device = *devices_[which];
    devices::DeviceSource& source = *device.entry.source;
    Clock::time_point began = Clock::now();
    Status begun = source.begin(stop);
    if (!begun) return devices::own_error(std::move(begun).error());
    DeviceCounters::add_since(device.counters.save_us, began);
    for (std::uint32_t index = 0;; ++index) {
        OutgoingChunk chunk{which, index, false, {}};
        MIGRATE_ASSIGN(chunk.content, pool_.take(chunk_bytes));
        Status saved = save_one(device, chunk, stop);
        if (!saved) return devices::own_error(std::move(saved).error());
        DeviceCounters::add(device.counters.bytes, chunk.content.bytes().size());
        DeviceCounters::add(device.counters.chunks, 1);
        const bool last = chunk.config;
        MIGRATE_TRY(emit(std::move(chunk)));
        if (last) return {};
        if (index == UINT32_MAX) return make_error("it has more chunks than can be counted");
    }
}

// Saves the next chunk, or the configuration if there are no more chunks.
Status DeviceSender::save_one(Device& device, OutgoingChunk& chunk, const std::stop_token& stop) {
    const std::span<std::byte> room = chunk.content.bytes();
    devices::DeviceSource& source = *device.entry.source;
    Clock::time_point began = Clock::now();
    MIGRATE_ASSIGN(std::size_t size, source.save(room, stop));
    DeviceCounters::add_since(device.counters.save_us, began);
    if (size == 0) {
        began = Clock::now();
        MIGRATE_ASSIGN(size, source.save_config(room, stop));
        DeviceCounters::add_since(device.counters.config_us, began);
        chunk.config = true;
    }
    if (size == 0 || size > room.size()) {
        return make_error("a chunk of {} bytes; 1 to {} are possible", size, room.size());
    }
    chunk.content.set_size(size);
    return {};
}

Status DeviceSender::send(SendChannel& channel, OutgoingChunk chunk, std::uint32_t round,
                          const std::stop_token& stop) {
    Device& device = *devices_[chunk.device];
    const Clock::time_point began = Clock::now();
    const auto header = transport::encode_device_header(header_of(device.entry.id, chunk));
    Status sent = channel.send_device(header, chunk.content.bytes(), round, stop);
    pool_.give_back(std::move(chunk.content));
    if (!sent) return std::move(sent).error().with_context(device.context());
    DeviceCounters::add_since(device.counters.wire_us, began);
    return {};
}

Status DeviceSender::send_one(SendChannel& channel, std::uint32_t round,
                              const std::stop_token& stop) {
    std::optional<OutgoingChunk> chunk = queue_.try_take();
    return chunk ? send(channel, *std::move(chunk), round, stop) : Status();
}

Status DeviceSender::send_rest(SendChannel& channel, std::uint32_t round,
                               const std::stop_token& stop) {
    Clock::time_point seen = memory_done_.load(std::memory_order_relaxed);
    const Clock::time_point now = Clock::now();
    while (seen < now &&
           !memory_done_.compare_exchange_weak(seen, now, std::memory_order_relaxed)) {
    }
    while (std::optional<OutgoingChunk> chunk = queue_.take(stop)) {
        MIGRATE_TRY(send(channel, *std::move(chunk), round, stop));
    }
    return {};
}

Status DeviceSender::send_in_turn(std::size_t which, const SendFrame& send,
                                  const std::stop_token& stop) {
    Device& device = *devices_[which];
    return save(which, kFrameChunkBytes, stop, [&](OutgoingChunk chunk) {
        const Clock::time_point began = Clock::now();
        Status sent = send(transport::encode_device_header(header_of(device.entry.id, chunk)),
                           chunk.content.bytes());
        DeviceCounters::add_since(device.counters.wire_us, began);
        pool_.give_back(std::move(chunk.content));
        return sent;
    });
}

}  // namespace migrate::engine
