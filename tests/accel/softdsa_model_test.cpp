// SPDX-License-Identifier: Apache-2.0
#include <linux/idxd.h>

#include <algorithm>
#include <bit>

#include "accel/softdsa/crc32c.hpp"
#include "softdsa_client.hpp"

namespace migrate::accel::softdsa {
namespace {

TEST_CASE("descriptors and records are laid out as linux/idxd.h has them") {
    Descriptor ours;
    ours.set(Opcode::kCompval, kAnswer | dsa::kFlagBlockOnFault);
    ours.completion_address = 1;
    ours.source = 2;
    ours.destination = 3;
    ours.size = 4;
    ours.interrupt_handle = 5;
    ours.specific[0] = 6;
    dsa_hw_desc theirs{};
    theirs.opcode = DSA_OPCODE_COMPVAL;
    theirs.flags = IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR | IDXD_OP_FLAG_BOF;
    theirs.completion_addr = 1;
    theirs.src_addr = 2;
    theirs.comp_pattern = 3;
    theirs.xfer_size = 4;
    theirs.int_handle = 5;
    theirs.expected_res = 6;
    // The bytes are what counts. NOLINTNEXTLINE(bugprone-suspicious-memory-comparison)
    CHECK(std::memcmp(&ours, &theirs, sizeof ours) == 0);

    Outcome outcome = outcome_of(CompletionStatus::kInvalidFlags);
    outcome.result = 1;
    outcome.bytes_completed = 2;
    outcome.fault_address = 3;
    outcome.invalid_flags = 4;
    const auto record = encode(outcome, Opcode::kNoop);
    dsa_completion_record expected{};
    expected.status = DSA_COMP_INVALID_FLAGS;
    expected.result = 1;
    expected.bytes_completed = 2;
    expected.fault_addr = 3;
    expected.invalid_flags = 4;
    // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison)
    CHECK(std::memcmp(record.data(), &expected, sizeof expected) == 0);
}

TEST_CASE("opcodes, flags and statuses are those of linux/idxd.h") {
    CHECK(static_cast<int>(Opcode::kDualcast) == DSA_OPCODE_DUALCAST);
    CHECK(static_cast<int>(Opcode::kCrcgen) == DSA_OPCODE_CRCGEN);
    CHECK(static_cast<int>(Opcode::kCopyCrc) == DSA_OPCODE_COPY_CRC);
    CHECK(static_cast<int>(Opcode::kCacheFlush) == DSA_OPCODE_CFLUSH);
    CHECK(dsa::kFlagCheckResult == IDXD_OP_FLAG_CR);
    CHECK(dsa::kFlagCacheControl == IDXD_OP_FLAG_CC);
    CHECK(code(CompletionStatus::kBatchPageFault) == DSA_COMP_BATCH_PAGE_FAULT);
    CHECK(code(CompletionStatus::kDualcastAddress) == DSA_COMP_DCAST_ERR);
    CHECK(code(CompletionStatus::kAddressAlignment) == DSA_COMP_ADDR_ALIGN);
    CHECK(code(CompletionStatus::kReadbackFault) == DSA_COMP_PFAULT_RDBA);
    CHECK(code(CompletionStatus::kTranslationFailed) == DSA_COMP_TRANSLATION_FAIL);
}

TEST_CASE("a no-op succeeds, and without a request for it leaves no record") {
    auto device = started({});
    CompletionRecord record;
    CHECK(run(*device, make(Opcode::kNoop, 0, 0, 0), record) == 1);

    CompletionRecord silent;
    Descriptor quiet;
    quiet.set(Opcode::kNoop, dsa::kFlagCompletionAddressValid);
    quiet.completion_address = address_of(&silent);
    REQUIRE(device->enqcmd(0, quiet));
    CHECK(run(*device, make(Opcode::kDrain, 0, 0, 0), record) == 1);
    CHECK(silent.status == 0);
    quiet.set(static_cast<Opcode>(0x7f), dsa::kFlagCompletionAddressValid);
    REQUIRE(device->enqcmd(0, quiet));
    CHECK(wait_for(silent) == code(CompletionStatus::kBadOpcode));
}

// Memory for one operation, and how the operation left it.
struct Memory {
    std::vector<std::byte> a = std::vector<std::byte>(300'000);
    std::vector<std::byte> b = std::vector<std::byte>(300'000);
    std::vector<std::byte> c = std::vector<std::byte>(300'000);
};

TEST_CASE("copying operations leave memory as plain code does") {
    const std::uint64_t seed = 20'240'501;
    INFO("seed " << seed);
    auto device = started({});
    CompletionRecord record;
    for (std::uint64_t round = 0; round < 200; ++round) {
        const auto dice = [&](std::uint64_t n, std::uint64_t below) {
            return splitmix64(seed + round * 16 + n) % below;
        };
        Memory memory;
        fill_random(memory.a.data(), memory.a.size(), seed + round);
        std::fill(memory.b.begin(), memory.b.end(), std::byte{1});
        Memory expected = memory;
        const auto size = static_cast<std::uint32_t>(1 + dice(0, round % 2 == 0 ? 200 : 140'000));
        const std::size_t from = dice(1, 100'000);
        const std::size_t to = dice(2, 100'000);
        switch (round % 4) {
            case 0:
                std::copy_n(expected.a.data() + from, size, expected.b.data() + to);
                CHECK(run(*device,
                          make(Opcode::kMemmove, address_of(memory.a.data() + from),
                               address_of(memory.b.data() + to), size),
                          record) == 1);
                break;
            case 1:  // within one region: it may overlap either way
                std::memmove(expected.a.data() + to, expected.a.data() + from, size);
                CHECK(run(*device,
                          make(Opcode::kMemmove, address_of(memory.a.data() + from),
                               address_of(memory.a.data() + to), size),
                          record) == 1);
                break;
            case 2: {
                const std::uint64_t pattern = splitmix64(round);
                for (std::size_t i = 0; i < size; ++i)
                    expected.b[to + i] = static_cast<std::byte>(pattern >> 8 * (i % 8));
                CHECK(run(*device,
                          make(Opcode::kFill, pattern, address_of(memory.b.data() + to), size),
                          record) == 1);
                break;
            }
            default: {
                // Both destinations begin at the same place of a page.
                const std::uint64_t first = address_of(memory.b.data() + to);
                const std::uint64_t base = address_of(memory.c.data());
                const std::uint64_t second = base + ((first - base) & 0xfff);
                std::copy_n(expected.a.data() + from, size, expected.b.data() + to);
                std::copy_n(expected.a.data() + from, size, expected.c.data() + (second - base));
                Descriptor descriptor =
                    make(Opcode::kDualcast, address_of(memory.a.data() + from), first, size);
                descriptor.specific[0] = second;
                CHECK(run(*device, descriptor, record) == 1);
            }
        }
        INFO("round " << round << " size " << size << " from " << from << " to " << to);
        CHECK(memory.a == expected.a);
        CHECK(memory.b == expected.b);
        CHECK(memory.c == expected.c);
    }
}

TEST_CASE("comparisons find the first difference wherever it is") {
    const std::uint64_t seed = 77;
    INFO("seed " << seed);
    auto device = started({});
    CompletionRecord record;
    std::vector<std::byte> a(200'000);
    std::vector<std::byte> b(200'000);
    for (std::uint64_t round = 0; round < 200; ++round) {
        const auto size = static_cast<std::uint32_t>(1 + splitmix64(seed + round) % 150'000);
        const std::size_t from = splitmix64(seed * 3 + round) % 5000;
        const std::size_t at = splitmix64(seed * 5 + round) % size;
        const bool equal = round % 4 == 0;
        const bool pattern = round % 2 == 0;
        if (pattern)
            for (std::size_t i = 0; i < size; ++i)
                a[from + i] = static_cast<std::byte>("abcdefgh"[i % 8]);
        else
            fill_random(a.data() + from, size, round);
        std::copy_n(a.data() + from, size, b.data());
        if (!equal) a[from + at] ^= std::byte{0x10};
        std::uint64_t word = 0;
        std::memcpy(&word, "abcdefgh", 8);
        const std::uint64_t other = pattern ? word : address_of(b.data());
        const Opcode opcode = pattern ? Opcode::kCompval : Opcode::kCompare;
        Descriptor descriptor = make(opcode, address_of(a.data() + from), other, size);
        INFO("round " << round << " size " << size << " difference at " << at);
        CHECK(run(*device, descriptor, record) == 1);
        CHECK(record.result == (equal ? 0 : 1));
        if (!equal) CHECK(record.bytes_completed == at);

        descriptor.set(opcode, kAnswer | dsa::kFlagCheckResult);
        descriptor.specific[0] = 1;  // expected to differ
        CHECK(run(*device, descriptor, record) == (equal ? 2 : 1));
        CHECK(record.result == (equal ? 0 : 1));
    }
}

// One bit at a time, straight from the definition.
std::uint32_t slow_crc(std::uint32_t seed, const std::byte* data, std::size_t size, bool plain,
                       bool plain_data) {
    const auto reverse = [](std::uint32_t word) {
        std::uint32_t reversed = 0;
        for (unsigned bit = 0; bit < 32; ++bit) reversed |= (word >> bit & 1U) << (31 - bit);
        return reversed;
    };
    std::uint32_t crc = plain ? seed : reverse(~seed);
    for (std::size_t i = 0; i < size; ++i) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            const unsigned position = plain_data ? 7 - bit : bit;
            const std::uint32_t next = std::to_integer<std::uint32_t>(data[i]) >> position & 1U;
            const std::uint32_t top = crc >> 31U ^ next;
            crc = crc << 1U ^ (top != 0 ? 0x1EDC6F41U : 0U);
        }
    }
    return plain ? crc : reverse(~crc);
}

TEST_CASE("the CRC is CRC-32C, with the seed and the bit orders asked for") {
    const auto text = std::as_bytes(std::span("123456789", 9));
    CHECK(crc32c(0, text, CrcForm::kReflected, CrcData::kLeastSignificantFirst) == 0xE3069283);

    auto device = started({});
    CompletionRecord record;
    std::vector<std::byte> data(150'000);
    std::vector<std::byte> copy(data.size());
    fill_random(data.data(), data.size(), 5);
    for (std::uint32_t round = 0; round < 32; ++round) {
        const auto size = static_cast<std::uint32_t>(1 + splitmix64(round) % 140'000);
        const bool plain = (round & 1U) != 0;
        const bool plain_data = (round & 2U) != 0;
        const bool read_seed = (round & 4U) != 0;
        const Opcode opcode = (round & 8U) != 0 ? Opcode::kCopyCrc : Opcode::kCrcgen;
        alignas(4) std::uint32_t seed = round * 77;
        Descriptor descriptor =
            make(opcode, address_of(data.data()),
                 opcode == Opcode::kCopyCrc ? address_of(copy.data()) : 0, size,
                 (plain ? kFlagCrcPlain : 0) | (plain_data ? kFlagCrcPlainData : 0) |
                     (read_seed ? kFlagCrcReadSeed : 0));
        if (read_seed)
            descriptor.specific[1] = address_of(&seed);
        else
            descriptor.specific[0] = seed;
        INFO("round " << round);
        CHECK(run(*device, descriptor, record) == 1);
        CHECK(record.invalid_flags == slow_crc(seed, data.data(), size, plain, plain_data));
        if (opcode == Opcode::kCopyCrc)
            CHECK(std::equal(data.begin(), data.begin() + size, copy.begin()));
    }
}

TEST_CASE("a cache flush changes nothing") {
    auto device = started({});
    CompletionRecord record;
    std::vector<std::byte> data(10'000, std::byte{7});
    CHECK(run(*device, make(Opcode::kCacheFlush, 0, address_of(data.data()), 10'000), record) == 1);
    CHECK(std::count(data.begin(), data.end(), std::byte{7}) == 10'000);
}

}  // namespace
}  // namespace migrate::accel::softdsa
