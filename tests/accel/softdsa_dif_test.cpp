// SPDX-License-Identifier: Apache-2.0
// The DIF operations of the software DSA device.
#include "accel/softdsa/dif.hpp"
#include "tests/accel/softdsa_client.hpp"

namespace migrate::accel::softdsa {
namespace {

constexpr std::uint32_t kReference = 0xABBA'0001;
constexpr std::uint16_t kApplication = 0xFACE;

std::uint64_t seeds(std::uint32_t reference, std::uint16_t mask, std::uint16_t application) {
    return reference | std::uint64_t{mask} << 32U | std::uint64_t{application} << 48U;
}
std::uint64_t dif_flags(unsigned block, unsigned source = 0, unsigned destination = 0,
                        unsigned both = 0) {
    return source | destination << 8U | (block | both) << 16U;
}

// Blocks without and with their fields, and a device.
struct Blocks {
    static constexpr std::uint32_t kCount = 5;

    explicit Blocks(unsigned block_size)
        : size(block_size),
          data(kDifBlockBytes[block_size]),
          plain(map_pages(16)),
          with(map_pages(16)),
          result(map_pages(16)) {
        fill_random(plain.data(), kCount * data, 7 + block_size);
        std::memset(with.data(), 0, 16 * kPageSize);
        std::memset(result.data(), 0, 16 * kPageSize);
    }
    std::uint32_t step() const { return data + std::uint32_t{kDifBytes}; }
    std::byte* field(std::uint32_t block) { return with.data() + (block + 1) * step() - kDifBytes; }

    Descriptor insert(unsigned destination = 0, unsigned both = 0) const {
        Descriptor descriptor = make(Opcode::kDifInsert, address_of(plain.data()),
                                     address_of(with.data()), kCount * data);
        descriptor.specific[0] = dif_flags(size, 0, destination, both);
        descriptor.specific[2] = seeds(kReference, 0, kApplication);
        return descriptor;
    }
    Descriptor read(Opcode opcode, unsigned source = 0, unsigned destination = 0,
                    unsigned both = 0) const {
        Descriptor descriptor =
            make(opcode, address_of(with.data()),
                 opcode == Opcode::kDifCheck ? 0 : address_of(result.data()), kCount * step());
        descriptor.specific[0] = dif_flags(size, source, destination, both);
        descriptor.specific[1] = seeds(kReference, 0, kApplication);
        if (opcode == Opcode::kDifUpdate) descriptor.specific[2] = seeds(77, 0x00ff, 0x1234);
        return descriptor;
    }

    unsigned size;
    std::uint32_t data;
    Mapping plain, with, result;
    std::unique_ptr<Device> device = started({});
    CompletionRecord record;
};

TEST_CASE("the guard is the CRC of T10") {
    constexpr std::string_view kText = "123456789";
    CHECK(crc16_t10(0, std::as_bytes(std::span(kText))) == 0xd0db);
}

TEST_CASE("DIF insert writes the guard, the tags and the data of each block") {
    for (unsigned size = 0; size < kDifBlockBytes.size(); ++size) {
        Blocks blocks(size);
        REQUIRE(run(*blocks.device, blocks.insert(), blocks.record) == 1);
        for (std::uint32_t i = 0; i < Blocks::kCount; ++i) {
            const std::byte* data = blocks.plain.data() + i * blocks.data;
            const std::byte* field = blocks.field(i);
            const std::uint16_t guard = crc16_t10(0, {data, blocks.data});
            const std::uint32_t reference = kReference + i;
            const std::array<std::uint8_t, kDifBytes> expected{
                static_cast<std::uint8_t>(guard >> 8U),
                static_cast<std::uint8_t>(guard),
                0xfa,
                0xce,
                static_cast<std::uint8_t>(reference >> 24U),
                static_cast<std::uint8_t>(reference >> 16U),
                static_cast<std::uint8_t>(reference >> 8U),
                static_cast<std::uint8_t>(reference)};
            CHECK(std::memcmp(field, expected.data(), expected.size()) == 0);
            CHECK(std::memcmp(blocks.with.data() + i * blocks.step(), data, blocks.data) == 0);
        }
        // The values for a next block.
        CHECK(blocks.record.specific[1] == kReference + Blocks::kCount);
        CHECK(blocks.record.specific[2] == std::uint32_t{kApplication} << 16U);
    }
}

TEST_CASE("what DIF insert wrote passes the check, is stripped, and is updated") {
    for (unsigned size = 0; size < kDifBlockBytes.size(); ++size) {
        for (const unsigned both : {0U, unsigned{kDifInvertSeed}, unsigned{kDifInvertResult}}) {
            Blocks blocks(size);
            CAPTURE(size, both);
            REQUIRE(run(*blocks.device, blocks.insert(0, both), blocks.record) == 1);
            CHECK(run(*blocks.device, blocks.read(Opcode::kDifCheck, 0, 0, both), blocks.record) ==
                  1);
            CHECK(blocks.record.result == 0);
            REQUIRE(run(*blocks.device, blocks.read(Opcode::kDifStrip, 0, 0, both),
                        blocks.record) == 1);
            CHECK(std::memcmp(blocks.result.data(), blocks.plain.data(),
                              Blocks::kCount * blocks.data) == 0);
            REQUIRE(run(*blocks.device, blocks.read(Opcode::kDifUpdate, 0, 0, both),
                        blocks.record) == 1);
            const std::byte* field = blocks.result.data() + 2 * blocks.step() - kDifBytes;
            CHECK(std::memcmp(field, blocks.field(1), 2) == 0);
            constexpr std::array<std::uint8_t, 6> kTags{0x12, 0x00, 0, 0, 0, 78};
            CHECK(std::memcmp(field + 2, kTags.data(), kTags.size()) == 0);
        }
    }
}

TEST_CASE("DIF update keeps the values that the flags name") {
    Blocks blocks(0);
    REQUIRE(run(*blocks.device, blocks.insert(), blocks.record) == 1);
    blocks.field(0)[0] ^= std::byte{1};
    const unsigned keep = kDifKeepGuard | kDifKeepApplication | kDifKeepReference;
    REQUIRE(run(*blocks.device, blocks.read(Opcode::kDifUpdate, kDifNoGuardCheck, keep),
                blocks.record) == 1);
    CHECK(std::memcmp(blocks.result.data(), blocks.with.data(), Blocks::kCount * blocks.step()) ==
          0);
}

TEST_CASE("a DIF check says which values are wrong, and stops there") {
    struct Case {
        std::size_t byte;
        std::uint8_t result;
    };
    for (const Opcode opcode : {Opcode::kDifCheck, Opcode::kDifStrip, Opcode::kDifUpdate}) {
        for (const Case& each : {Case{0, kDifGuardError}, Case{3, kDifApplicationError},
                                 Case{7, kDifReferenceError}}) {
            Blocks blocks(1);
            REQUIRE(run(*blocks.device, blocks.insert(), blocks.record) == 1);
            blocks.field(2)[each.byte] ^= std::byte{1};
            CHECK(run(*blocks.device, blocks.read(opcode), blocks.record) == 9);
            CHECK(blocks.record.result == each.result);
            CHECK(blocks.record.bytes_completed == 2 * blocks.step());
            CHECK(blocks.record.specific[0] == std::uint32_t{kApplication} << 16U);
            CHECK(blocks.record.invalid_flags == kReference + 2);
        }
    }
}

TEST_CASE("flags turn DIF checks off, and detect fields of ones") {
    Blocks blocks(0);
    REQUIRE(run(*blocks.device, blocks.insert(), blocks.record) == 1);
    std::memset(blocks.field(1), 0xff, kDifBytes);
    const auto check = [&](unsigned source) {
        return run(*blocks.device, blocks.read(Opcode::kDifCheck, source), blocks.record);
    };
    CHECK(check(0) == 9);
    CHECK(blocks.record.result == (kDifGuardError | kDifApplicationError | kDifReferenceError));
    CHECK(check(kDifDetectApplicationOnes) == 1);
    CHECK(check(kDifDetectTagOnes) == 1);
    CHECK(check(kDifDetectAllOnes | kDifAllOnesIsError) == 9);
    CHECK(blocks.record.result == kDifAllOnesError);
    CHECK(check(kDifNoGuardCheck | kDifNoReferenceCheck) == 9);
    CHECK(blocks.record.result == kDifApplicationError);
    Descriptor masked = blocks.read(Opcode::kDifCheck, kDifNoGuardCheck | kDifNoReferenceCheck);
    masked.specific[1] = seeds(kReference, 0xffff, 0);
    CHECK(run(*blocks.device, masked, blocks.record) == 1);
}

TEST_CASE("tags are fixed or grow as the flags say") {
    Blocks blocks(0);
    const unsigned flags = kDifFixedReference | kDifCountApplication;
    REQUIRE(run(*blocks.device, blocks.insert(flags), blocks.record) == 1);
    CHECK(blocks.field(4)[3] == std::byte{0xd2});
    CHECK(blocks.field(4)[7] == std::byte{0x01});
    CHECK(run(*blocks.device, blocks.read(Opcode::kDifCheck, flags), blocks.record) == 1);
    CHECK(run(*blocks.device, blocks.read(Opcode::kDifCheck), blocks.record) == 9);
}

TEST_CASE("a DIF operation that met a page fault continues with the tags of its record") {
    Blocks blocks(2);  // of 4104 bytes with their fields
    REQUIRE(run(*blocks.device, blocks.insert(), blocks.record) == 1);
    std::array<std::byte, kPageSize> page;
    std::memcpy(page.data(), blocks.with.data() + 2 * kPageSize, kPageSize);
    REQUIRE(::madvise(blocks.with.data() + 2 * kPageSize, kPageSize, MADV_DONTNEED) == 0);
    Descriptor strip = blocks.read(Opcode::kDifStrip);
    CHECK(run(*blocks.device, strip, blocks.record) == 3);
    CHECK(blocks.record.fault_address == address_of(blocks.with.data() + 2 * kPageSize));
    REQUIRE(blocks.record.bytes_completed == blocks.step());
    std::memcpy(blocks.with.data() + 2 * kPageSize, page.data(), kPageSize);
    strip.source += blocks.step();
    strip.destination += blocks.data;
    strip.size -= blocks.step();
    strip.specific[1] = blocks.record.invalid_flags | std::uint64_t{blocks.record.specific[0]}
                                                          << 32U;
    CHECK(run(*blocks.device, strip, blocks.record) == 1);
    CHECK(std::memcmp(blocks.result.data(), blocks.plain.data(), Blocks::kCount * blocks.data) ==
          0);
}

TEST_CASE("DIF descriptors that do not fit their blocks are refused") {
    Blocks blocks(0);
    Descriptor odd = blocks.insert();
    odd.size -= 1;
    CHECK(run(*blocks.device, odd, blocks.record) == code(CompletionStatus::kTransferSize));
    odd = blocks.read(Opcode::kDifCheck);
    odd.size -= std::uint32_t{kDifBytes};
    CHECK(run(*blocks.device, odd, blocks.record) == code(CompletionStatus::kTransferSize));
    Descriptor same = blocks.insert();
    same.destination = same.source + blocks.data;
    CHECK(run(*blocks.device, same, blocks.record) == code(CompletionStatus::kOverlap));
    Descriptor reserved = blocks.insert();
    reserved.specific[0] |= 0x10'0000;
    CHECK(run(*blocks.device, reserved, blocks.record) == code(CompletionStatus::kReservedNotZero));
    reserved = blocks.read(Opcode::kDifCheck);
    reserved.specific[2] = 1;
    CHECK(run(*blocks.device, reserved, blocks.record) == code(CompletionStatus::kReservedNotZero));
}

}  // namespace
}  // namespace migrate::accel::softdsa
