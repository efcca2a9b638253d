// SPDX-License-Identifier: Apache-2.0
#include "transport/device_chunk.hpp"

#include "catch.hpp"
#include "tests/support/must.hpp"
#include "transport/wire.hpp"

namespace migrate::transport {
namespace {

const DeviceChunkHeader kHeader{"net0", 3, 41, false};

TEST_CASE("a device's header comes back as it was, and is refused wherever it is cut off") {
    for (const bool config : {false, true}) {
        DeviceChunkHeader header = kHeader;
        header.config = config;
        const auto bytes = encode_device_header(header);
        const DeviceChunkHeader decoded = must(decode_device_header(bytes, 7));
        CHECK(decoded.name == "net0");
        CHECK(decoded.instance == 3);
        CHECK(decoded.index == 41);
        CHECK(decoded.config == config);
        for (std::size_t length = 0; length < bytes.size(); ++length) {
            CHECK_FALSE(decode_device_header(std::span(bytes).first(length), 7));
        }
    }
}

TEST_CASE("a chunk of another version, size or kind is an error that names its device") {
    const auto error_of = [](std::size_t offset, std::uint8_t value, std::uint64_t payload) {
        auto bytes = encode_device_header(kHeader);
        bytes[offset] = static_cast<std::byte>(value);
        return message_of(decode_device_header(bytes, payload));
    };
    using Catch::Matchers::Contains;
    CHECK_THAT(error_of(0, 2, 7), Contains("device net0#3, chunk 41: the peer sends version 2"));
    CHECK_THAT(error_of(2, 6, 7), Contains("device net0#3, chunk 41: the flags 0x6 are unknown"));
    CHECK_THAT(error_of(0, 1, 0), Contains("device net0#3, chunk 41: the chunk has 0 bytes"));
    CHECK_THAT(error_of(0, 1, kMaxDeviceChunkBytes + 1),
               Contains("net0#3, chunk 41: the chunk has 1048577 bytes"));
    CHECK_THAT(error_of(kDeviceHeaderFixedBytes, '\n', 7), Contains("name"));
    CHECK_THAT(error_of(12, 5, 7), Contains("header"));
    DeviceChunkHeader nameless = kHeader;
    nameless.name.clear();
    CHECK_FALSE(decode_device_header(encode_device_header(nameless), 7));
    nameless.name.assign(kMaxDeviceNameBytes + 1, 'x');
    CHECK_FALSE(decode_device_header(encode_device_header(nameless), 7));
}

TEST_CASE("a packet of device state is taken only where it was agreed on, and holds no pages") {
    const std::vector<RegionInfo> regions{{"ram", 16 * kPageSize}};
    PacketLimits limits{8 * kPageSize, Compression::kNone, regions, true};
    const auto header_bytes = encode_device_header(kHeader);
    PacketHeader header{.kind = PacketKind::kDeviceState, .round = 1, .payload_bytes = 100};
    const auto decode = [&] {
        return decode_packet_header(encode_packet_header(header, header_bytes), limits);
    };
    CHECK(must(decode()).payload_bytes == 100);
    const PacketHeaderBytes bytes = encode_packet_header(header, header_bytes);
    must(check_packet_checksum(bytes, header_bytes));
    auto changed = header_bytes;
    changed.back() = std::byte{'1'};
    CHECK_FALSE(check_packet_checksum(bytes, changed));
    header.normal_pages = 1;
    CHECK_FALSE(decode());
    header.normal_pages = 0;
    limits.device_state = false;
    CHECK(message_of(decode()).find("agreed on none") != std::string::npos);
}

}  // namespace
}  // namespace migrate::transport
