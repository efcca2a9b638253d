// SPDX-License-Identifier: Apache-2.0
#include "transport/page_message.hpp"

#include <algorithm>

#include "base/little_endian.hpp"
#include "transport/protocol_error.hpp"

namespace migrate::transport {
namespace {

constexpr std::uint32_t kMagic = 0x5043504D;  // "MPCP"
constexpr std::size_t kCheckedBytes = 24;     // the checksum follows
constexpr std::size_t kMostStateBytes = kPacketHeaderSize + kMaxRunBytes;

Party sender_of(PageMessageKind kind) {
    return kind < PageMessageKind::kReady ? Party::kSender : Party::kReceiver;
}

bool is_known(PageMessageKind kind) {
    switch (kind) {
        case PageMessageKind::kPages:
        case PageMessageKind::kZeroPages:
        case PageMessageKind::kPing:
        case PageMessageKind::kBye:
        case PageMessageKind::kReady:
        case PageMessageKind::kState:
        case PageMessageKind::kGuestRuns:
        case PageMessageKind::kWanted:
        case PageMessageKind::kPong:
        case PageMessageKind::kPlaced:
            return true;
    }
    return false;
}

// The payload that this message must have; nothing is left to the peer but the size of kState.
bool has_right_payload(const PageMessage& message) {
    if (message.kind == PageMessageKind::kPages) {
        return message.count <= kMostPagesPerMessage &&
               message.payload_bytes == message.count * kPageSize;
    }
    if (message.kind == PageMessageKind::kState) {
        return message.payload_bytes > kPacketHeaderSize &&
               message.payload_bytes <= kMostStateBytes;
    }
    return message.payload_bytes == 0;
}

bool names_pages(PageMessageKind kind) {
    return kind == PageMessageKind::kPages || kind == PageMessageKind::kZeroPages ||
           kind == PageMessageKind::kWanted;
}

PayloadChecksumBytes checksum_of(const PageMessageBytes& bytes, std::span<const std::byte> payload,
                                 PayloadChecksum& checksum) {
    checksum.restart();
    checksum.add(std::span(bytes).first<kCheckedBytes>());
    checksum.add(payload);
    return static_cast<const PayloadChecksum&>(checksum).finish();
}

}  // namespace

PageMessageBytes encode_page_message(const PageMessage& message, std::span<const std::byte> payload,
                                     PayloadChecksum& checksum) {
    PageMessageBytes bytes{};
    store_le(&bytes[0], kMagic);
    bytes[4] = static_cast<std::byte>(message.kind);
    store_le(&bytes[6], index_of(message.region));
    store_le(&bytes[8], message.count);
    store_le(&bytes[12], static_cast<std::uint32_t>(payload.size()));
    store_le(&bytes[16], message.page);
    const PayloadChecksumBytes sum = checksum_of(bytes, payload, checksum);
    std::copy(sum.begin(), sum.end(), bytes.begin() + kCheckedBytes);
    return bytes;
}

Result<PageMessage> decode_page_message(const PageMessageBytes& bytes, Party from,
                                        std::span<const RegionInfo> regions) {
    if (load_le<std::uint32_t>(&bytes[0]) != kMagic) {
        return protocol_error("a message of post-copy does not begin with its magic");
    }
    PageMessage message;
    message.kind = static_cast<PageMessageKind>(bytes[4]);
    if (!is_known(message.kind) || sender_of(message.kind) != from || bytes[5] != std::byte{0}) {
        return protocol_error(fmt::format("a message of post-copy has the kind {}",
                                          std::to_integer<unsigned>(bytes[4])));
    }
    const auto region = load_le<std::uint16_t>(&bytes[6]);
    message.region = RegionId{region};
    message.count = load_le<std::uint32_t>(&bytes[8]);
    message.payload_bytes = load_le<std::uint32_t>(&bytes[12]);
    message.page = load_le<std::uint64_t>(&bytes[16]);
    if (!has_right_payload(message)) {
        return protocol_error(fmt::format("a message of post-copy has {} bytes for {} pages",
                                          message.payload_bytes, message.count));
    }
    if (!names_pages(message.kind)) return message;
    const std::uint64_t size = region < regions.size() ? regions[region].pages() : 0;
    if (message.count == 0 || message.page >= size || message.count > size - message.page) {
        return protocol_error(
            fmt::format("a message of post-copy has pages {} … of region {}, which has {}",
                        message.page, region, size));
    }
    return message;
}

Status check_page_message(const PageMessageBytes& bytes, std::span<const std::byte> payload,
                          PayloadChecksum& checksum) {
    PayloadChecksumBytes got{};
    std::copy(bytes.begin() + kCheckedBytes, bytes.end(), got.begin());
    return compare_checksums(checksum_of(bytes, payload, checksum), got);
}

}  // namespace migrate::transport
