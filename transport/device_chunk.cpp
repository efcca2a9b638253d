// SPDX-License-Identifier: Apache-2.0
#include "transport/device_chunk.hpp"

#include <algorithm>

#include "base/little_endian.hpp"
#include "transport/payload_checksum.hpp"

namespace migrate::transport {
namespace {

constexpr std::uint16_t kConfigFlag = 1;
// In frames only: the checksum follows the header.
constexpr std::uint16_t kChecksumFlag = 2;

PayloadChecksumBytes frame_checksum(std::span<const std::byte> header,
                                    std::span<const std::byte> chunk) {
    PayloadChecksum checksum;
    checksum.add(header);
    checksum.add(chunk);
    return checksum.finish();
}

// Checks the checksum at the begin of `rest`; returns the chunk after it. `header` is marked.
Result<std::span<const std::byte>> take_checksum(std::span<const std::byte> header,
                                                 std::span<const std::byte> rest) {
    PayloadChecksumBytes expected{};
    if (rest.size() < expected.size()) {
        return Error(ErrorKind::kProtocol, "a device's frame ends before its checksum does");
    }
    std::copy_n(rest.begin(), expected.size(), expected.begin());
    rest = rest.subspan(expected.size());
    MIGRATE_TRY(compare_checksums(expected, frame_checksum(header, rest)));
    return rest;
}

}  // namespace

std::string describe(const DeviceChunkHeader& header) {
    std::string text = "device " + header.name;
    if (header.instance != 0) text += fmt::format("#{}", header.instance);
    return header.config ? text + ", configuration"
                         : fmt::format("{}, chunk {}", text, header.index);
}

std::vector<std::byte> encode_device_header(const DeviceChunkHeader& header) {
    std::vector<std::byte> bytes(kDeviceHeaderFixedBytes);
    store_le(&bytes[0], kDeviceStateVersion);
    store_le(&bytes[2], header.config ? kConfigFlag : std::uint16_t{0});
    store_le(&bytes[4], header.instance);
    store_le(&bytes[8], header.index);
    bytes[12] = static_cast<std::byte>(header.name.size());
    for (const char c : header.name) bytes.push_back(static_cast<std::byte>(c));
    return bytes;
}

Result<DeviceChunkHeader> decode_device_header(std::span<const std::byte> bytes,
                                               std::uint64_t payload_bytes) {
    if (bytes.size() < kDeviceHeaderFixedBytes ||
        bytes.size() != kDeviceHeaderFixedBytes + std::to_integer<std::size_t>(bytes[12])) {
        return make_error(ErrorKind::kProtocol,
                          "the device header has {} bytes, which does not fit its name",
                          bytes.size());
    }
    DeviceChunkHeader header;
    header.name.assign(reinterpret_cast<const char*>(&bytes[12]) + 1,
                       bytes.size() - kDeviceHeaderFixedBytes);
    if (!is_device_name(header.name))
        return Error(ErrorKind::kProtocol,
                     "the device header has no valid name (letters, digits and ._:-)");
    header.instance = load_le<std::uint32_t>(&bytes[4]);
    header.index = load_le<std::uint32_t>(&bytes[8]);
    const auto flags = load_le<std::uint16_t>(&bytes[2]);
    header.config = (flags & kConfigFlag) != 0;
    if (const auto version = load_le<std::uint16_t>(&bytes[0]); version != kDeviceStateVersion) {
        return make_error(ErrorKind::kProtocol,
                          "{}: the peer sends version {} of device state; expected version {}",
                          describe(header), version, kDeviceStateVersion);
    }
    if ((flags & ~kConfigFlag) != 0) {
        return make_error(ErrorKind::kProtocol, "{}: the flags {:#x} are unknown", describe(header),
                          flags);
    }
    if (payload_bytes == 0 || payload_bytes > kMaxDeviceChunkBytes) {
        return make_error(ErrorKind::kProtocol, "{}: the chunk has {} bytes; expected 1 to {}",
                          describe(header), payload_bytes, kMaxDeviceChunkBytes);
    }
    return header;
}

std::vector<std::byte> add_frame_checksum(std::span<const std::byte> header,
                                          std::span<const std::byte> chunk) {
    std::vector<std::byte> bytes(header.begin(), header.end());
    bytes[2] |= static_cast<std::byte>(kChecksumFlag);
    const PayloadChecksumBytes checksum = frame_checksum(bytes, chunk);
    bytes.insert(bytes.end(), checksum.begin(), checksum.end());
    return bytes;
}

Result<DeviceFrame> decode_device_frame(std::string_view body, PayloadChecksums checksums) {
    const auto bytes = std::as_bytes(std::span(body));
    if (bytes.size() < kDeviceHeaderFixedBytes) {
        return make_error(ErrorKind::kProtocol, "a device's frame of {} bytes", bytes.size());
    }
    const std::size_t header_bytes = std::min(
        bytes.size(),
        kDeviceHeaderFixedBytes + std::to_integer<std::size_t>(bytes[kDeviceHeaderFixedBytes - 1]));
    std::vector<std::byte> header(bytes.begin(),
                                  bytes.begin() + static_cast<std::ptrdiff_t>(header_bytes));
    std::span<const std::byte> chunk = bytes.subspan(header_bytes);
    const auto mark = static_cast<std::byte>(kChecksumFlag);
    const bool is_marked = (header[2] & mark) != std::byte{};
    if (is_marked && checksums == PayloadChecksums::kNone) {
        return Error(ErrorKind::kProtocol,
                     "a device's frame has a checksum, but the handshake agreed on none "
                     "(packet-checksum)");
    }
    if (!is_marked && checksums == PayloadChecksums::kAll) {
        return Error(ErrorKind::kProtocol, "a device's frame has no checksum (packet-checksum=on)");
    }
    if (is_marked) {
        MIGRATE_ASSIGN(chunk, take_checksum(header, chunk));
        header[2] &= ~mark;
    }
    MIGRATE_ASSIGN(DeviceChunkHeader decoded, decode_device_header(header, chunk.size()));
    return DeviceFrame{std::move(decoded), chunk};
}

}  // namespace migrate::transport
