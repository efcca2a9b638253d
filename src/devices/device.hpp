// SPDX-License-Identifier: Apache-2.0
// The interface between a migration and the devices of its guest. A device's state is a sequence of
// opaque chunks, 0 … last, followed by one configuration chunk. Invariant: a sink gets exactly what
// its source gave, in the same order, chunk by chunk.
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

// Identifies a device among all others, on both hosts.
struct DeviceId {
    std::string name;  // is_device_name()
    std::uint32_t instance = 0;

    // "NAME", or "NAME#INSTANCE" if the instance is not 0.
    std::string text() const;
    friend auto operator<=>(const DeviceId&, const DeviceId&) = default;
};

// Returns a device's error as one of the migration's, with the kind kFailed: a lost connection or a
// timeout was the device's own (to a QEMU, for example) and says nothing about the peer or its
// channels. kCancelled stays.
Error own_error(Error error);

// A device that is saved. Used by one thread at a time, once the guest is paused. Every call
// returns soon after a stop was requested, with kCancelled if it was interrupted.
class DeviceSource {
  public:
    DeviceSource() = default;
    DeviceSource(const DeviceSource&) = delete;
    DeviceSource& operator=(const DeviceSource&) = delete;
    virtual ~DeviceSource() = default;

    // Called once, before everything else.
    virtual Status begin(const std::stop_token& stop) = 0;
    // Fills `buffer` (1 … kMaxDeviceChunkBytes) from its beginning with the next chunk and returns
    // its size; 0 if there are no more.
    virtual Result<std::size_t> save(std::span<std::byte> buffer, const std::stop_token& stop) = 0;
    // Called once, after the last chunk: fills in the configuration chunk, 1 … buffer.size() bytes.
    virtual Result<std::size_t> save_config(std::span<std::byte> buffer,
                                            const std::stop_token& stop) = 0;
};

// A device that is loaded. The rules of DeviceSource apply. All chunks come from the peer: they
// must be checked.
class DeviceSink {
  public:
    DeviceSink() = default;
    DeviceSink(const DeviceSink&) = delete;
    DeviceSink& operator=(const DeviceSink&) = delete;
    virtual ~DeviceSink() = default;

    virtual Status begin(const std::stop_token& stop) = 0;
    virtual Status load(std::span<const std::byte> chunk, const std::stop_token& stop) = 0;
    // Called after the last chunk. Success says that the device is complete. Must not change
    // anything visible outside of the sink: the migration may still fail.
    virtual Status load_config(std::span<const std::byte> config, const std::stop_token& stop) = 0;
    // Called once, last, when nothing else can fail any more: makes the loaded state visible. A
    // sink that is destroyed without commit() leaves no trace.
    virtual Status commit() { return {}; }
};

}  // namespace migrate::devices
