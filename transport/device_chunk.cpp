#include "transport/device_chunk.hpp"

#include "base/little_endian.hpp"

namespace migrate::transport {
namespace {

constexpr std::uint16_t kConfigFlag = 1;

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

}  // namespace migrate::transport
