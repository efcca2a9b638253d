// SPDX-License-Identifier: Apache-2.0
// The sending side of devices. One thread per device saves its state, and the channels send it
// beside memory. If state goes on the main channel, one thread saves and sends device after device
// instead. Invariant: send_rest() succeeds on a channel only when every device was saved completely
// and channels have taken all of its chunks.
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
#include "engine/devices/device_counters.hpp"
#include "engine/devices/device_queue.hpp"
#include "engine/send/send_channel.hpp"

namespace migrate::engine {

class DeviceSender {
  public:
    struct Entry {
        devices::DeviceId id;
        devices::DeviceKind kind = devices::DeviceKind::kSimulated;
        std::unique_ptr<devices::DeviceSource> source;
    };
    // `devices` has at least one entry.
    DeviceSender(std::vector<Entry> devices, unsigned channels);
    ~DeviceSender();
    DeviceSender(const DeviceSender&) = delete;
    DeviceSender& operator=(const DeviceSender&) = delete;

    // Starts the threads dev_save_NAME; an error of one ends the session and names the device.
    // Fails with start_error(); the caller then has to stop the session. `times` and `cancellation`
    // outlive this object.
    Status start(ThreadTimes& times, Cancellation& cancellation);
    // Called after a stop or once everything is sent. Idempotent.
    void join() { threads_.clear(); }
    // The state is not needed any more: no channel waits for it.
    void abandon() { queue_.close(); }

    // So many channels send from now on. Called by the session's thread.
    void set_channels(unsigned channels);

    // Called by channels between packets of memory. Sends a chunk if one is queued.
    Status send_one(SendChannel& channel, std::uint32_t round, const std::stop_token& stop);
    // Called by channels. Sends chunks until no more will come.
    Status send_rest(SendChannel& channel, std::uint32_t round, const std::stop_token& stop);

    // Used instead of start(), for one device after the other, in their order. Saves the device on
    // the calling thread, and passes each chunk to `send` (device header, at most kFrameChunkBytes
    // of content) before it saves the next one.
    using SendFrame =
        std::function<Status(std::span<const std::byte> header, std::span<const std::byte> chunk)>;
    static constexpr std::size_t kFrameChunkBytes = std::size_t{120} * 1024;
    Status send_in_turn(std::size_t which, const SendFrame& send, const std::stop_token& stop);

    // The time when the last channel had no more memory to send; the epoch if it has not come yet.
    // Any thread.
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
    // Takes each chunk of a device as soon as it is saved.
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
