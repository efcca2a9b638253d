// SPDX-License-Identifier: Apache-2.0
#include "transport/control_frame.hpp"

#include <algorithm>

#include "base/little_endian.hpp"

namespace migrate::transport {
namespace {

constexpr std::uint32_t kFrameMagic = 0x4C54434D;  // "MCTL" on the wire
constexpr std::uint16_t kRetiredType = 14;         // a frame of protocol version 1
constexpr auto kLastType = static_cast<std::uint16_t>(FrameType::kPostcopyStart);

}  // namespace

std::array<std::byte, kFrameHeaderSize> encode_frame_header(FrameType type,
                                                            std::size_t body_bytes) {
    std::array<std::byte, kFrameHeaderSize> header{};
    store_le(&header[0], kFrameMagic);
    store_le(&header[4], static_cast<std::uint16_t>(type));
    store_le(&header[8], static_cast<std::uint32_t>(body_bytes));
    return header;
}

std::string encode_frame(FrameType type, std::string_view body) {
    const auto header = encode_frame_header(type, body.size());
    std::string frame(reinterpret_cast<const char*>(header.data()), header.size());
    frame += body;
    return frame;
}

Result<FrameHeader> decode_frame_header(std::span<const std::byte, kFrameHeaderSize> bytes) {
    if (load_le<std::uint32_t>(&bytes[0]) != kFrameMagic) {
        return Error(ErrorKind::kProtocol,
                     "the peer does not speak migrate's protocol: it is another program, or "
                     "the connection is damaged (expected a control frame, got other bytes)");
    }
    const auto type = load_le<std::uint16_t>(&bytes[4]);
    if (type == 0 || type > kLastType || type == kRetiredType) {
        return make_error(ErrorKind::kProtocol, "the control frame has the unknown type {}", type);
    }
    const auto size = load_le<std::uint32_t>(&bytes[8]);
    if (size > kMaxFrameBody) {
        return make_error(ErrorKind::kProtocol,
                          "the control frame has {} bytes; at most {} are allowed", size,
                          kMaxFrameBody);
    }
    return FrameHeader{static_cast<FrameType>(type), size};
}

void FrameParser::feed(std::span<const std::byte> bytes) {
    buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<std::optional<Frame>> FrameParser::next() {
    if (buffer_.size() < kFrameHeaderSize) return std::optional<Frame>();
    std::array<std::byte, kFrameHeaderSize> bytes{};
    std::copy_n(reinterpret_cast<const std::byte*>(buffer_.data()), bytes.size(), bytes.begin());
    MIGRATE_ASSIGN(const FrameHeader header, decode_frame_header(bytes));
    if (buffer_.size() < kFrameHeaderSize + header.body_bytes) return std::optional<Frame>();
    Frame frame{header.type, buffer_.substr(kFrameHeaderSize, header.body_bytes)};
    buffer_.erase(0, kFrameHeaderSize + header.body_bytes);
    return std::optional<Frame>(std::move(frame));
}

}  // namespace migrate::transport
