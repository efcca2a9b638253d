// The seam between a migration and the devices of its guest: a device's state is a sequence of
// opaque chunks, 0 … last, and after them one configuration chunk. Invariant: a sink is given
// exactly what its source gave, in the same order, chunk by chunk.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/device_limits.hpp"
#include "base/error.hpp"

namespace migrate::devices {

// What tells a device from all others, on both hosts.
struct DeviceId {
    std::string name;  // is_device_name()
    std::uint32_t instance = 0;

    // "NAME", or "NAME#INSTANCE" where the instance is not 0.
    std::string text() const;
    friend auto operator<=>(const DeviceId&, const DeviceId&) = default;
};

// An error of a device as one of the migration's: a connection that was lost or a time that ran out
// was the device's own (to a QEMU, say), and says nothing of the peer or its channels. A stop stays
// one.
Error own_error(Error error);

// A device that is saved; used by one thread at a time, from when the guest stands still. Every
// call returns soon after a stop was requested, with kCancelled if it had to break off.
class DeviceSource {
  public:
    DeviceSource() = default;
    DeviceSource(const DeviceSource&) = delete;
    DeviceSource& operator=(const DeviceSource&) = delete;
    virtual ~DeviceSource() = default;

    // Once, before everything else.
    virtual Status begin(const std::stop_token& stop) = 0;
    // Fills `buffer` (1 … kMaxDeviceChunkBytes) from its beginning with the next chunk and returns
    // its size; 0: there are no more.
    virtual Result<std::size_t> save(std::span<std::byte> buffer, const std::stop_token& stop) = 0;
    // Once, after the last chunk: the configuration chunk, 1 … buffer.size() bytes.
    virtual Result<std::size_t> save_config(std::span<std::byte> buffer,
                                            const std::stop_token& stop) = 0;
};

// A device that is loaded; as above. What it is given is a peer's word.
class DeviceSink {
  public:
    DeviceSink() = default;
    DeviceSink(const DeviceSink&) = delete;
    DeviceSink& operator=(const DeviceSink&) = delete;
    virtual ~DeviceSink() = default;

    virtual Status begin(const std::stop_token& stop) = 0;
    virtual Status load(std::span<const std::byte> chunk, const std::stop_token& stop) = 0;
    // After the last chunk; success says that the device is complete, and changes nothing that is
    // seen beyond it: the migration may still fail.
    virtual Status load_config(std::span<const std::byte> config, const std::stop_token& stop) = 0;
    // Last, once, when nothing can fail any more but this: what was loaded becomes visible. A sink
    // that is destroyed without it leaves no trace.
    virtual Status commit() { return {}; }
};

}  // namespace migrate::devices
