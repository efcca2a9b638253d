// The header of a chunk of a device's state, in a packet on a data channel or in a frame on the
// main channel. Invariant: an error about a chunk names its device, once its name could be read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/device_limits.hpp"
#include "base/error.hpp"

namespace migrate::transport {

// Of the layout of this header and of what it means; others are refused.
inline constexpr std::uint16_t kDeviceStateVersion = 1;
// version, flags, instance, index, length of the name; the name follows
inline constexpr std::size_t kDeviceHeaderFixedBytes = 13;
inline constexpr std::size_t kMaxDeviceHeaderBytes = kDeviceHeaderFixedBytes + kMaxDeviceNameBytes;

struct DeviceChunkHeader {
    std::string name;  // is_device_name()
    std::uint32_t instance = 0;
    std::uint32_t index = 0;  // from 0 for each device, without a gap
    bool config = false;      // the configuration chunk, which is the device's last
};

// At most kMaxDeviceHeaderBytes.
std::vector<std::byte> encode_device_header(const DeviceChunkHeader& header);

// `bytes` are all of the header, `payload_bytes` the size of the chunk that follows it: 1 …
// kMaxDeviceChunkBytes.
Result<DeviceChunkHeader> decode_device_header(std::span<const std::byte> bytes,
                                               std::uint64_t payload_bytes);

// "device NAME, chunk 4" or "device NAME#2, configuration"
std::string describe(const DeviceChunkHeader& header);

}  // namespace migrate::transport
