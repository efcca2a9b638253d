// SPDX-License-Identifier: Apache-2.0
// The header of a chunk of a device's state, in a packet on a data channel or in a frame on the
// main channel. Invariant: an error about a chunk names its device if the name could be read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/device_limits.hpp"
#include "base/error.hpp"
#include "transport/wire.hpp"

namespace migrate::transport {

// Version of the layout and meaning of this header; other versions are refused.
inline constexpr std::uint16_t kDeviceStateVersion = 1;
// Bytes of version, flags, instance, index and length of the name; the name follows.
inline constexpr std::size_t kDeviceHeaderFixedBytes = 13;
inline constexpr std::size_t kMaxDeviceHeaderBytes = kDeviceHeaderFixedBytes + kMaxDeviceNameBytes;

struct DeviceChunkHeader {
    std::string name;  // valid by is_device_name()
    std::uint32_t instance = 0;
    std::uint32_t index = 0;  // from 0 for each device, without a gap
    bool config = false;      // the configuration chunk, which is the device's last
};

// Returns at most kMaxDeviceHeaderBytes.
std::vector<std::byte> encode_device_header(const DeviceChunkHeader& header);

// `bytes` is the whole header, `payload_bytes` the size of the chunk that follows it: 1 …
// kMaxDeviceChunkBytes.
Result<DeviceChunkHeader> decode_device_header(std::span<const std::byte> bytes,
                                               std::uint64_t payload_bytes);

// Returns the bytes that come before the chunk in a frame with a checksum: the header, marked, and
// the checksum of header and chunk.
std::vector<std::byte> add_frame_checksum(std::span<const std::byte> header,
                                          std::span<const std::byte> chunk);

struct DeviceFrame {
    DeviceChunkHeader header;
    std::span<const std::byte> chunk;  // in the body
};
// Decodes the body of a frame, and checks its checksum if it has one.
Result<DeviceFrame> decode_device_frame(std::string_view body, PayloadChecksums checksums);

// Returns "device NAME, chunk 4" or "device NAME#2, configuration".
std::string describe(const DeviceChunkHeader& header);

}  // namespace migrate::transport
