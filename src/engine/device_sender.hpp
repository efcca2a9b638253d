// The sending side of devices: a thread saves each, the channels send what it saved beside memory;
// or, one after the other, a single thread does both. Invariant: send_rest() returns success on a
// channel only when every device was saved whole and each of its chunks was taken by a channel.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/cancellation.hpp"
#include "base/error.hpp"
#include "base/thread.hpp"
#include "devices/device.hpp"
#include "devices/device_spec.hpp"
#include "engine/device_counters.hpp"
#include "engine/device_queue.hpp"
#include "engine/send_channel.hpp"

namespace migrate::engine {

class DeviceSender {
  public:
    struct Entry {
        devices::DeviceId id;
        devices::DeviceKind kind = devices::DeviceKind::kSimulated;
        std::unique_ptr<devices::DeviceSource> source;
    };
    // At least one device.
    DeviceSender(std::vector<Entry> devices, unsigned channels);
    ~DeviceSender();
    DeviceSender(const DeviceSender&) = delete;
    DeviceSender& operator=(const DeviceSender&) = delete;

    // Starts the threads dev_save_NAME; an error of one ends the session and names the device.
    // Fails with start_error(), and the session has to be stopped then. `times` and `cancellation`
    // outlive this.
    Status start(ThreadTimes& times, Cancellation& cancellation);
    // After a stop or once all is sent. Idempotent.
    void join() { threads_.clear(); }

    // Channels: sends a chunk if one waits, so that it goes between packets of memory.
    Status send_one(SendChannel& channel, std::uint32_t round, const std::stop_token& stop);
    // Channels: sends chunks until no more will come.
    Status send_rest(SendChannel& channel, std::uint32_t round, const std::stop_token& stop);

    // Instead of start(): saves device after device on this thread, and sends each chunk by `send`
    // (device header, content; at most kFrameChunkBytes of it) before the next is saved.
    using SendFrame =
        std::function<Status(std::span<const std::byte> header, std::span<const std::byte> chunk)>;
    static constexpr std::size_t kFrameChunkBytes = std::size_t{120} * 1024;
    Status send_in_turn(const SendFrame& send, const std::stop_token& stop);

    // When the last channel had no more memory to send; the epoch: not yet. Any thread.
    DeviceCounters::Clock::time_point memory_done() const {
        return memory_done_.load(std::memory_order_relaxed);
    }
    // Any thread.
    std::vector<DeviceReport> report() const { return report_devices(devices_); }

  private:
    struct Device {
        Entry entry;
        DeviceCounters counters;
        std::string context() const { return "device " + entry.id.text(); }
    };
    // Where the chunks of one device go as they are saved.
    using Emit = std::function<Status(OutgoingChunk)>;
    Status save(std::size_t which, std::size_t chunk_bytes, const std::stop_token& stop,
                const Emit& emit);
    Status save_chunks(std::size_t which, std::size_t chunk_bytes, const std::stop_token& stop,
                       const Emit& emit);
    static Status save_one(Device& device, OutgoingChunk& chunk, const std::stop_token& stop);
    Status send(SendChannel& channel, OutgoingChunk chunk, std::uint32_t round,
                const std::stop_token& stop);

    std::vector<std::unique_ptr<Device>> devices_;
    ChunkPool pool_;
    DeviceQueue queue_;
    std::atomic<DeviceCounters::Clock::time_point> memory_done_{};
    std::vector<SessionThread> threads_;
};

}  // namespace migrate::engine
