// SPDX-License-Identifier: Apache-2.0
// Delta records of the software DSA device.
#include "accel/softdsa/delta.hpp"
#include "tests/accel/softdsa_client.hpp"

namespace migrate::accel::softdsa {
namespace {

constexpr std::uint32_t kBytes = 4 * kPageSize;
constexpr std::uint32_t kMostRecord = kBytes / kDeltaWordBytes * kDeltaEntryBytes;

DeviceConfig with_delta() {
    DeviceConfig config;
    config.queues[0].operations |= kDeltaOperations;
    return config;
}

struct Pair {
    Pair() : first(map_pages(4)), second(map_pages(4)), delta(map_pages(8)), copy(map_pages(4)) {
        fill_random(first.data(), kBytes, 11);
        std::memcpy(second.data(), first.data(), kBytes);
        std::memcpy(copy.data(), first.data(), kBytes);
        std::memset(delta.data(), 0, 8 * kPageSize);
    }
    void differ(std::size_t word) { second.data()[word * kDeltaWordBytes + 3] ^= std::byte{0x5a}; }
    Descriptor create(std::uint32_t most = kMostRecord, std::uint32_t flags = 0) const {
        Descriptor descriptor = make(Opcode::kCreateDelta, address_of(first.data()),
                                     address_of(second.data()), kBytes, flags);
        descriptor.specific[0] = address_of(delta.data());
        descriptor.specific[1] = most;
        return descriptor;
    }
    Descriptor apply(std::uint32_t record_bytes) const {
        Descriptor descriptor =
            make(Opcode::kApplyDelta, address_of(delta.data()), address_of(copy.data()), kBytes);
        descriptor.specific[0] = record_bytes;
        return descriptor;
    }
    // The size of the record, at byte 16 of the completion record.
    std::uint32_t made() const { return record.invalid_flags; }

    Mapping first, second, delta, copy;
    std::unique_ptr<Device> device = started(with_delta());
    CompletionRecord record;
};

TEST_CASE("a delta record that is applied to the first memory makes the second one") {
    Pair pair;
    for (const std::size_t word : {0U, 1U, 511U, 512U, 1000U, 2047U}) pair.differ(word);
    REQUIRE(run(*pair.device, pair.create(), pair.record) == 1);
    CHECK(pair.record.result == kDeltaCreated);
    REQUIRE(pair.made() == 6 * kDeltaEntryBytes);
    REQUIRE(run(*pair.device, pair.apply(pair.made()), pair.record) == 1);
    CHECK(std::memcmp(pair.copy.data(), pair.second.data(), kBytes) == 0);
}

TEST_CASE("memory that is equal or differs everywhere has a delta record, too") {
    Pair pair;
    REQUIRE(run(*pair.device, pair.create(), pair.record) == 1);
    CHECK(pair.record.result == kDeltaEqual);
    CHECK(pair.made() == 0);
    fill_random(pair.second.data(), kBytes, 12);
    REQUIRE(run(*pair.device, pair.create(), pair.record) == 1);
    CHECK(pair.made() == kMostRecord);
    REQUIRE(run(*pair.device, pair.apply(pair.made()), pair.record) == 1);
    CHECK(std::memcmp(pair.copy.data(), pair.second.data(), kBytes) == 0);
}

TEST_CASE("a delta record that becomes too large ends with result 2") {
    Pair pair;
    for (std::size_t word = 0; word < 20; ++word) pair.differ(word * 3);
    REQUIRE(run(*pair.device, pair.create(85), pair.record) == 1);
    CHECK(pair.record.result == kDeltaTooLarge);
    CHECK(pair.made() == 80);
    CHECK(pair.record.bytes_completed == 24 * kDeltaWordBytes);
    CHECK(pair.delta.data()[80] == std::byte{0});
}

TEST_CASE("the expected results of a creation are a mask") {
    Pair pair;
    pair.differ(9);
    for (const unsigned mask : {0U, 1U, 2U, 3U, 4U, 7U}) {
        Descriptor create = pair.create(kMostRecord, dsa::kFlagCheckResult);
        create.specific[2] = mask;
        CAPTURE(mask);
        CHECK(run(*pair.device, create, pair.record) == ((mask & 2U) != 0 ? 1 : 2));
    }
}

TEST_CASE("a delta operation that met a page fault is repeated") {
    Pair pair;
    for (std::size_t word = 0; word < 1000; ++word) pair.differ(word);
    const auto faults = [&](const Descriptor& descriptor, std::byte* page, std::uint8_t status) {
        REQUIRE(::madvise(page, kPageSize, MADV_DONTNEED) == 0);
        REQUIRE(run(*pair.device, descriptor, pair.record) == status);
        CHECK(pair.record.fault_address == address_of(page));
        CHECK(pair.record.bytes_completed == 0);
        CHECK(pair.record.result == 0);
        CHECK(pair.made() == 0);
        *static_cast<volatile std::byte*>(page) = std::byte{0};  // as a client does
    };
    faults(pair.create(), pair.delta.data() + kPageSize, 0x83);
    faults(pair.create(), pair.second.data() + 3 * kPageSize, 3);
    REQUIRE(run(*pair.device, pair.create(), pair.record) == 1);
    // The page that is zeros now differs, too.
    CHECK(pair.made() == (1000 + 512) * kDeltaEntryBytes);
    const Descriptor apply = pair.apply(pair.made());
    faults(apply, pair.copy.data() + 3 * kPageSize, 0x83);
    REQUIRE(run(*pair.device, apply, pair.record) == 1);
    CHECK(std::memcmp(pair.copy.data(), pair.second.data(), kBytes) == 0);
}

TEST_CASE("an injected fault in a delta operation is inside the word it names") {
    DeviceConfig config = with_delta();
    config.faults = with_faults("fault-byte=9001@0").faults;
    Pair pair;
    pair.device = started(config);
    pair.differ(2);
    CHECK(run(*pair.device, pair.create(), pair.record) == 3);
    CHECK(pair.record.fault_address == address_of(pair.first.data()) + 2 * kPageSize);
    CHECK(run(*pair.device, pair.create(), pair.record) == 1);
    CHECK(pair.made() == kDeltaEntryBytes);
}

TEST_CASE("a delta record with numbers that do not increase, or are too large, is refused") {
    Pair pair;
    pair.differ(3);
    pair.differ(8);
    REQUIRE(run(*pair.device, pair.create(), pair.record) == 1);
    const std::uint32_t bytes = pair.made();
    pair.delta.data()[kDeltaEntryBytes] = std::byte{3};
    CHECK(run(*pair.device, pair.apply(bytes), pair.record) == code(CompletionStatus::kDeltaOrder));
    CHECK(pair.record.bytes_completed == kDeltaEntryBytes);
    pair.delta.data()[kDeltaEntryBytes + 1] = std::byte{8};  // word 2051
    CHECK(run(*pair.device, pair.apply(bytes), pair.record) ==
          code(CompletionStatus::kDeltaOffset));
}

TEST_CASE("delta descriptors with odd sizes and addresses are refused") {
    Pair pair;
    const auto refused = [&](Descriptor descriptor, CompletionStatus status) {
        CHECK(run(*pair.device, descriptor, pair.record) == code(status));
    };
    Descriptor create = pair.create();
    create.size = 12;
    refused(create, CompletionStatus::kTransferSize);
    create.size = kMostDeltaBytes + kDeltaWordBytes;
    refused(create, CompletionStatus::kTransferSize);
    create = pair.create();
    create.specific[0] += 4;
    refused(create, CompletionStatus::kAddressAlignment);
    refused(pair.create(79), CompletionStatus::kDeltaSize);
    refused(pair.apply(25), CompletionStatus::kDeltaSize);
    refused(pair.apply(0), CompletionStatus::kDeltaSize);
    Descriptor apply = pair.apply(80);
    apply.destination = apply.source + 8;
    refused(apply, CompletionStatus::kOverlap);
    pair.device = started({});
    refused(pair.create(), CompletionStatus::kBadOpcode);
}

}  // namespace
}  // namespace migrate::accel::softdsa
