// SPDX-License-Identifier: Apache-2.0
#include "transport/payload_checksum.hpp"

#include <xxhash.h>

#include <algorithm>

#include "base/little_endian.hpp"
#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/noise.hpp"
#include "transport/device_chunk.hpp"
#include "transport/parts_cursor.hpp"

namespace migrate::transport {
namespace {

using Catch::Matchers::Contains;

const std::vector<RegionInfo> kChecksumRegions{{"ram", 16 * kPageSize}};

PacketHeaderBytes header_bytes(std::uint32_t sequence) {
    return encode_packet_header({.round = 1, .sequence = sequence, .has_checksum = true}, {});
}

TEST_CASE("a payload's checksum is XXH3 of the payload and of its header's checksum") {
    const auto content = noise(3 * kPageSize + 5);
    const PacketHeaderBytes header = header_bytes(7);
    std::vector<std::byte> whole = content;
    whole.insert(whole.end(), header.end() - 4, header.end());
    PayloadChecksum checksum;
    for (int turn = 0; turn < 2; ++turn) {
        checksum.restart();
        checksum.add(std::span(content).first(100));
        checksum.add(std::span(content).subspan(100));
        const PayloadChecksumBytes bytes = checksum.finish(header);
        CHECK(load_le<std::uint64_t>(bytes.data()) == XXH3_64bits(whole.data(), whole.size()));
    }
}

TEST_CASE("parts of any size have the checksum of their bytes in a row, read or copied") {
    const auto content = noise(20 * kPageSize + 11);
    const PacketHeaderBytes header = header_bytes(7);
    PayloadChecksum checksum;
    const auto finish_of = [&](const auto& add) {
        checksum.restart();
        add();
        return checksum.finish(header);
    };
    const PayloadChecksumBytes right =
        finish_of([&] { checksum.add(std::span<const std::byte>(content)); });
    for (const std::size_t size : {std::size_t{1000}, kPageSize, 2 * kPageSize, content.size()}) {
        INFO("parts of " << size << " bytes");
        std::vector<iovec> parts;
        for (std::size_t at = 0; at < content.size(); at += size) {
            parts.push_back(
                part_of(std::span(content).subspan(at, std::min(size, content.size() - at))));
            parts.push_back({nullptr, 0});
        }
        std::vector<std::byte> copy(content.size());
        CHECK(finish_of([&] { checksum.add(parts); }) == right);
        CHECK(finish_of([&] { checksum.add_copy(parts, copy.data()); }) == right);
        CHECK(copy == content);
    }
}

TEST_CASE("a payload with another packet's header, and any changed bit, have another checksum") {
    auto content = noise(kPageSize);
    PayloadChecksum checksum;
    const auto checksum_of = [&](std::uint32_t sequence) {
        checksum.restart();
        checksum.add(content);
        return checksum.finish(header_bytes(sequence));
    };
    const PayloadChecksumBytes right = checksum_of(1);
    must(compare_checksums(right, checksum_of(1)));
    CHECK_FALSE(compare_checksums(right, checksum_of(2)));
    for (std::size_t bit = 0; bit < content.size() * 8; bit += 97) {
        content[bit / 8] ^= std::byte(1U << bit % 8);
        const Status compared = compare_checksums(right, checksum_of(1));
        REQUIRE_FALSE(compared);
        CHECK(compared.error().kind() == ErrorKind::kProtocol);
        CHECK_THAT(compared.error().message(), Contains("damaged on the way"));
        content[bit / 8] ^= std::byte(1U << bit % 8);
    }
}

TEST_CASE("a packet has a checksum where it was agreed on, and no other flag") {
    PacketLimits limits{8 * kPageSize, Compression::kNone, kChecksumRegions};
    PacketHeader header{.run_bytes = 1, .round = 1, .normal_pages = 1, .payload_bytes = 4096};
    const std::vector<std::byte> runs{std::byte{4}};
    const auto decode = [&](PayloadChecksums checksums, bool has_one) {
        limits.checksums = checksums;
        header.has_checksum = has_one;
        return decode_packet_header(encode_packet_header(header, runs), limits);
    };
    CHECK(must(decode(PayloadChecksums::kSome, true)).has_checksum);
    CHECK(must(decode(PayloadChecksums::kAll, true)).has_checksum);
    CHECK_FALSE(must(decode(PayloadChecksums::kNone, false)).has_checksum);
    CHECK_FALSE(must(decode(PayloadChecksums::kSome, false)).has_checksum);
    CHECK_THAT(message_of(decode(PayloadChecksums::kNone, true)), Contains("agreed on none"));
    CHECK_THAT(message_of(decode(PayloadChecksums::kAll, false)), Contains("no checksum"));
    header.normal_pages = 0;
    header.payload_bytes = 0;
    CHECK_THAT(message_of(decode(PayloadChecksums::kAll, true)), Contains("no payload"));
    CHECK_FALSE(must(decode(PayloadChecksums::kAll, false)).has_checksum);
    for (const unsigned flags : {2U, 3U, 0x8000U}) {
        PacketHeaderBytes bytes = encode_packet_header(header, runs);
        store_le(&bytes[10], static_cast<std::uint16_t>(flags));
        CHECK_THAT(message_of(decode_packet_header(bytes, limits)), Contains("unknown flags"));
    }
}

std::string frame_of(std::span<const std::byte> before, std::span<const std::byte> chunk) {
    std::string body(reinterpret_cast<const char*>(before.data()), before.size());
    return body.append(reinterpret_cast<const char*>(chunk.data()), chunk.size());
}

TEST_CASE("a device's frame comes back with and without a checksum, where that was agreed on") {
    const auto chunk = noise(300);
    const auto header = encode_device_header({"net0", 3, 41, true});
    const std::string plain = frame_of(header, chunk);
    const std::string checked = frame_of(add_frame_checksum(header, chunk), chunk);
    for (const std::string& body : {plain, checked}) {
        const DeviceFrame frame = must(decode_device_frame(body, PayloadChecksums::kSome));
        CHECK(frame.header.name == "net0");
        CHECK(frame.header.index == 41);
        CHECK(frame.header.config);
        CHECK(std::equal(frame.chunk.begin(), frame.chunk.end(), chunk.begin(), chunk.end()));
    }
    must(decode_device_frame(checked, PayloadChecksums::kAll));
    must(decode_device_frame(plain, PayloadChecksums::kNone));
    CHECK_THAT(message_of(decode_device_frame(plain, PayloadChecksums::kAll)),
               Contains("no checksum"));
    CHECK_THAT(message_of(decode_device_frame(checked, PayloadChecksums::kNone)),
               Contains("agreed on none"));
}

TEST_CASE("a device's frame that is changed or cut off anywhere is refused") {
    const auto chunk = noise(60);
    const auto header = encode_device_header({"net0", 3, 41, false});
    const std::string body = frame_of(add_frame_checksum(header, chunk), chunk);
    for (std::size_t length = 0; length < body.size(); ++length) {
        CHECK_FALSE(decode_device_frame(body.substr(0, length), PayloadChecksums::kAll));
    }
    for (std::size_t at = 0; at < body.size(); ++at) {
        std::string changed = body;
        changed[at] = static_cast<char>(changed[at] ^ 0x10);
        INFO("byte " << at);
        CHECK_FALSE(decode_device_frame(changed, PayloadChecksums::kAll));
    }
}

}  // namespace
}  // namespace migrate::transport
