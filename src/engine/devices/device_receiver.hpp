// SPDX-License-Identifier: Apache-2.0
// The receiving side of devices. Channels hand chunks over as they arrive, and one thread per
// device loads them strictly in order. If state comes on the main channel, the reading thread loads
// one device after the other instead. Invariants: no chunk of a channel is loaded before start();
// await_complete() succeeds only when every device is complete.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/cancellation.hpp"
#include "base/mutex.hpp"
#include "base/thread.hpp"
#include "devices/device.hpp"
#include "devices/device_spec.hpp"
#include "engine/devices/device_buffer.hpp"
#include "engine/devices/device_counters.hpp"
#include "transport/device_chunk.hpp"

namespace migrate::engine {

class DeviceReceiver {
  public:
    struct Entry {
        devices::DeviceId id;
        devices::DeviceKind kind = devices::DeviceKind::kSimulated;
        std::unique_ptr<devices::DeviceSink> sink;
    };
    // `buffer_bytes` has passed DeviceBuffer::check_limit(). For `patience`, see DeviceBuffer.
    DeviceReceiver(std::vector<Entry> devices, std::uint64_t buffer_bytes,
                   std::chrono::milliseconds patience);
    ~DeviceReceiver();
    DeviceReceiver(const DeviceReceiver&) = delete;
    DeviceReceiver& operator=(const DeviceReceiver&) = delete;

    // Called by channels at any time. Waits for room for a chunk of `bytes` and lets `read` fill in
    // its content. An Error names the device.
    using Read = std::function<Status(std::span<std::byte>)>;
    Status receive(const transport::DeviceChunkHeader& header, std::size_t bytes, const Read& read,
                   const std::stop_token& stop);
    // Called at SWITCHOVER_START. Starts the threads dev_load_NAME. Fails with start_error(); the
    // caller then has to stop the session. `times` and `cancellation` outlive this object.
    Status start(ThreadTimes& times, Cancellation& cancellation);
    // The channels have delivered everything: a missing chunk is an error from now on.
    void end() { buffer_.end(); }
    // The state is not needed any more: no channel waits for room.
    void abandon() { buffer_.abandon(); }
    // Waits until every device is complete. kCancelled if a stop was requested.
    Status await_complete(const std::stop_token& stop);
    // Called once every device is complete. Makes the loaded state visible.
    Status commit();
    // Called after a stop or await_complete(). Idempotent.
    void join() { threads_.clear(); }

    // Used instead of receive(), start() and await_complete() if state comes on the main channel.
    // Loads the next chunk of the device whose turn it is; kProtocol if `header` names another
    // chunk.
    Status load_in_turn(const transport::DeviceChunkHeader& header,
                        std::span<const std::byte> chunk, const std::stop_token& stop);
    // kProtocol names a device whose turn has not ended.
    Status check_all_in_turn_loaded() const;

    // Any thread.
    std::vector<DeviceReport> report() const { return report_devices(devices_); }
    // The most memory that chunks took at once, in bytes.
    std::uint64_t peak_bytes() const { return buffer_.peak_bytes(); }

  private:
    struct Device {
        Entry entry;
        DeviceCounters counters;
        std::string context() const { return "device " + entry.id.text() + ", loading"; }
    };
    Status load(std::size_t which, const std::stop_token& stop);
    Status load_chunks(std::size_t which, const std::stop_token& stop);
    Status load_one(Device& device, bool config, std::span<const std::byte> content,
                    const std::stop_token& stop);
    Status begin(Device& device, const std::stop_token& stop);
    void complete(Device& device, DeviceCounters::Clock::time_point began);

    std::vector<std::unique_ptr<Device>> devices_;
    DeviceBuffer buffer_;
    Mutex mutex_;
    StopCondition changed_;
    std::size_t completed_ GUARDED_BY(mutex_) = 0;
    std::vector<SessionThread> threads_;

    // Only for load_in_turn(); used by one thread.
    std::size_t turn_ = 0;
    std::uint32_t turn_index_ = 0;
    DeviceCounters::Clock::time_point turn_began_{};
};

}  // namespace migrate::engine
