// SPDX-License-Identifier: Apache-2.0
#include "transport/wire.hpp"

#include <xxhash.h>

#include <algorithm>

#include "base/little_endian.hpp"
#include "transport/device_chunk.hpp"
#include "transport/protocol_error.hpp"

namespace migrate::transport {
namespace {

constexpr std::uint32_t kHelloMagic = 0x4F4C484D;   // "MHLO" on the wire
constexpr std::uint32_t kPacketMagic = 0x544B504D;  // "MPKT"

// A flag of a packet: its payload is followed by the payload's checksum.
constexpr std::uint16_t kHasChecksum = 1;

constexpr std::uint8_t kSkipCode = 3;
// A run of 2^62 − 1 pages, the largest, takes ten LEB128 bytes; a skip may come before each run.
constexpr std::size_t kMaxEncodedRun = 10;
constexpr std::uint64_t kMaxRunPages = (std::uint64_t{1} << 62) - 1;

std::uint32_t checksum(std::span<const std::byte> first, std::span<const std::byte> second) {
    const std::uint32_t head = XXH32(first.data(), first.size(), 0);
    return second.empty() ? head : XXH32(second.data(), second.size(), head);
}

}  // namespace

HelloBytes encode_hello(const ConnectionHello& hello) {
    HelloBytes bytes{};
    store_le(&bytes[0], kHelloMagic);
    store_le(&bytes[4], hello.version);
    bytes[6] = static_cast<std::byte>(hello.role);
    store_le(&bytes[8], index_of(hello.channel));
    store_le(&bytes[10], hello.epoch);
    std::copy(hello.session.begin(), hello.session.end(), bytes.begin() + 12);
    store_le(&bytes[28], checksum(std::span(bytes).first(28), {}));
    return bytes;
}

Result<ConnectionHello> decode_hello(std::span<const std::byte, kHelloSize> bytes) {
    if (load_le<std::uint32_t>(&bytes[0]) != kHelloMagic) {
        return protocol_error("the peer does not speak migrate's protocol");
    }
    ConnectionHello hello;
    hello.version = load_le<std::uint16_t>(&bytes[4]);
    if (hello.version != kProtocolVersion) return hello;  // the rest may differ there
    if (load_le<std::uint32_t>(&bytes[28]) != checksum(bytes.first(28), {})) {
        return protocol_error("the hello's checksum is wrong");
    }
    const auto role = std::to_integer<std::uint8_t>(bytes[6]);
    if (role > static_cast<std::uint8_t>(ConnectionRole::kPostcopy)) {
        return protocol_error(fmt::format("the hello has the unknown connection role {}", role));
    }
    hello.role = static_cast<ConnectionRole>(role);
    hello.channel = ChannelId{load_le<std::uint16_t>(&bytes[8])};
    hello.epoch = load_le<std::uint16_t>(&bytes[10]);
    std::copy_n(bytes.begin() + 12, hello.session.size(), hello.session.begin());
    return hello;
}

PacketHeaderBytes encode_packet_header(const PacketHeader& header,
                                       std::span<const std::byte> runs) {
    PacketHeaderBytes bytes{};
    store_le(&bytes[0], kPacketMagic);
    bytes[4] = static_cast<std::byte>(header.kind);
    bytes[5] = static_cast<std::byte>(header.compression);
    store_le(&bytes[6], static_cast<std::uint16_t>(runs.size()));
    store_le(&bytes[8], index_of(header.region));
    store_le(&bytes[10], header.has_checksum ? kHasChecksum : std::uint16_t{0});
    store_le(&bytes[12], header.round);
    store_le(&bytes[16], header.first_page);
    store_le(&bytes[24], header.sequence);
    store_le(&bytes[28], header.payload_bytes);
    store_le(&bytes[32], header.normal_pages);
    store_le(&bytes[36], checksum(std::span(bytes).first(36), runs));
    return bytes;
}

namespace {

Status check_pages_header(const PacketHeader& header, const PacketLimits& limits) {
    if (header.run_bytes == 0 || header.run_bytes > kMaxRunBytes) {
        return protocol_error(fmt::format("the packet's run list has {} bytes; expected 1 to {}",
                                          header.run_bytes, kMaxRunBytes));
    }
    if (index_of(header.region) >= limits.regions.size()) {
        return protocol_error(
            fmt::format("the packet is for region {}; the handshake agreed on {} region(s)",
                        index_of(header.region), limits.regions.size()));
    }
    const std::uint64_t content = header.normal_pages * kPageSize;
    if (content > limits.packet_bytes) {
        return protocol_error(
            fmt::format("the packet has {} normal pages; the agreed packet size holds {}",
                        header.normal_pages, limits.packet_bytes / kPageSize));
    }
    if (header.compression != Compression::kNone && header.compression != limits.compression) {
        return protocol_error(
            fmt::format("the packet uses compression {}; the handshake agreed on {}",
                        name_of(header.compression), name_of(limits.compression)));
    }
    const bool compressed = header.compression != Compression::kNone;
    const bool fits = compressed ? header.payload_bytes > 0 && header.payload_bytes < content
                                 : header.payload_bytes == content;
    if (!fits) {
        return protocol_error(
            fmt::format("the payload has {} bytes, which does not fit {} normal pages",
                        header.payload_bytes, header.normal_pages));
    }
    return {};
}

Status check_flags(std::uint16_t flags, const PacketHeader& header, const PacketLimits& limits) {
    if ((flags & ~kHasChecksum) != 0) {
        return protocol_error(fmt::format("the packet has the unknown flags {:#06x}", flags));
    }
    if (header.has_checksum && limits.checksums == PayloadChecksums::kNone) {
        return protocol_error(
            "the packet's payload has a checksum, but the handshake agreed on none "
            "(packet-checksum)");
    }
    if (header.has_checksum && header.payload_bytes == 0) {
        return protocol_error("the packet has a checksum of a payload, and no payload");
    }
    if (!header.has_checksum && header.payload_bytes != 0 &&
        limits.checksums == PayloadChecksums::kAll) {
        return protocol_error("the packet's payload has no checksum (packet-checksum=on)");
    }
    return {};
}

// decode_device_header() checks the payload's size, because its error can name the device.
Status check_device_header(const PacketHeader& header, const PacketLimits& limits) {
    if (!limits.device_state) {
        return protocol_error("the packet carries device state, but the handshake agreed on none");
    }
    if (header.run_bytes <= kDeviceHeaderFixedBytes || header.run_bytes > kMaxDeviceHeaderBytes ||
        header.normal_pages != 0 || header.first_page != 0 || index_of(header.region) != 0 ||
        header.compression != Compression::kNone) {
        return protocol_error("the packet of a device names pages, or no device");
    }
    return {};
}

}  // namespace

Result<PacketHeader> decode_packet_header(std::span<const std::byte, kPacketHeaderSize> bytes,
                                          const PacketLimits& limits) {
    if (load_le<std::uint32_t>(&bytes[0]) != kPacketMagic) {
        return protocol_error("expected a packet, got other bytes (wrong magic)");
    }
    const auto kind = std::to_integer<std::uint8_t>(bytes[4]);
    const auto compression = std::to_integer<std::uint8_t>(bytes[5]);
    if (compression > static_cast<std::uint8_t>(Compression::kZstd)) {
        return protocol_error(
            fmt::format("the packet has the unknown compression {}", compression));
    }
    PacketHeader header;
    header.compression = static_cast<Compression>(compression);
    header.run_bytes = load_le<std::uint16_t>(&bytes[6]);
    header.region = RegionId{load_le<std::uint16_t>(&bytes[8])};
    header.round = load_le<std::uint32_t>(&bytes[12]);
    header.first_page = load_le<std::uint64_t>(&bytes[16]);
    header.sequence = load_le<std::uint32_t>(&bytes[24]);
    header.payload_bytes = load_le<std::uint32_t>(&bytes[28]);
    header.normal_pages = load_le<std::uint32_t>(&bytes[32]);
    const auto flags = load_le<std::uint16_t>(&bytes[10]);
    header.has_checksum = (flags & kHasChecksum) != 0;
    MIGRATE_TRY(check_flags(flags, header, limits));
    if (kind == static_cast<std::uint8_t>(PacketKind::kPages)) {
        header.kind = PacketKind::kPages;
        MIGRATE_TRY(check_pages_header(header, limits));
    } else if (kind == static_cast<std::uint8_t>(PacketKind::kSync)) {
        header.kind = PacketKind::kSync;
        if (header.run_bytes != 0 || header.payload_bytes != 0 || header.normal_pages != 0) {
            return protocol_error("the SYNC packet is not empty");
        }
    } else if (kind == static_cast<std::uint8_t>(PacketKind::kDeviceState)) {
        header.kind = PacketKind::kDeviceState;
        MIGRATE_TRY(check_device_header(header, limits));
    } else {
        return protocol_error(fmt::format("the packet has the unknown kind {}", kind));
    }
    return header;
}

namespace {

// Reads one LEB128 number; returns false if it is cut off or longer than 64 bits.
bool read_number(std::span<const std::byte>& bytes, std::uint64_t& number) {
    number = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (bytes.empty()) return false;
        const auto byte = std::to_integer<std::uint64_t>(bytes.front());
        bytes = bytes.subspan(1);
        if (shift == 63 && byte > 1) return false;
        number |= (byte & 0x7F) << shift;
        if ((byte & 0x80) == 0) return true;
    }
    return false;
}

}  // namespace

Status check_packet_checksum(std::span<const std::byte, kPacketHeaderSize> header_bytes,
                             std::span<const std::byte> following) {
    if (load_le<std::uint32_t>(&header_bytes[36]) != checksum(header_bytes.first(36), following)) {
        return protocol_error("the packet's checksum is wrong");
    }
    return {};
}

Status decode_run_list(std::uint64_t first_page, std::span<const std::byte> runs,
                       const RegionInfo& region, std::vector<PageRun>& out) {
    out.clear();
    std::uint64_t page = first_page;
    while (!runs.empty()) {
        std::uint64_t number = 0;
        if (!read_number(runs, number))
            return protocol_error(
                "the packet's run list is cut off, or has a number above 64 bits");
        const std::uint64_t count = number >> 2;
        const auto code = static_cast<std::uint8_t>(number & 3);
        if (page > region.pages() || count == 0 || count > region.pages() - page) {
            return protocol_error(
                fmt::format("the packet has a run of {} pages at page {}; region '{}' has {} pages",
                            count, page, region.name, region.pages()));
        }
        if (code != kSkipCode) out.push_back({{page, count}, static_cast<PageKind>(code)});
        page += count;
    }
    return {};
}

Status decode_runs(std::span<const std::byte, kPacketHeaderSize> header_bytes,
                   const PacketHeader& header, std::span<const std::byte> runs,
                   const PacketLimits& limits, std::vector<PageRun>& out) {
    out.clear();
    MIGRATE_TRY(check_packet_checksum(header_bytes, runs));
    if (header.kind == PacketKind::kSync) return {};
    const RegionInfo& region = limits.regions[index_of(header.region)];
    MIGRATE_TRY(decode_run_list(header.first_page, runs, region, out));
    std::uint64_t normal = 0;
    for (const PageRun& run : out) {
        if (run.kind == PageKind::kNormal) normal += run.pages.count;
    }
    if (normal != header.normal_pages) {
        return protocol_error(
            fmt::format("the runs have {} normal pages; the packet's header says {}", normal,
                        header.normal_pages));
    }
    return {};
}

void RunListEncoder::restart(std::uint64_t first_page) {
    bytes_.clear();
    first_page_ = first_page;
    position_ = first_page;
    pending_count_ = 0;
}

bool RunListEncoder::append(const PageRun& run) {
    // Reserve room for the pending entry, a skip and this run.
    if (bytes_.size() + 3 * kMaxEncodedRun > kMaxRunBytes) return false;
    if (run.pages.first > position_) push(kSkipCode, run.pages.first - position_);
    push(static_cast<std::uint8_t>(run.kind), run.pages.count);
    position_ = run.pages.end();
    return true;
}

std::span<const std::byte> RunListEncoder::finish() {
    flush();
    return bytes_;
}

void RunListEncoder::push(std::uint8_t code, std::uint64_t count) {
    if (pending_count_ != 0 && (pending_code_ != code || pending_count_ > kMaxRunPages - count))
        flush();
    pending_code_ = code;
    pending_count_ += count;
}

void RunListEncoder::flush() {
    if (pending_count_ == 0) return;
    std::uint64_t number = pending_count_ << 2 | pending_code_;
    while (number >= 0x80) {
        bytes_.push_back(static_cast<std::byte>(number | 0x80));
        number >>= 7;
    }
    bytes_.push_back(static_cast<std::byte>(number));
    pending_count_ = 0;
}

}  // namespace migrate::transport
