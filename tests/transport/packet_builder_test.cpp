// SPDX-License-Identifier: Apache-2.0
#include "transport/packet_builder.hpp"

#include <cstdint>

#include "catch.hpp"

namespace migrate::transport {
namespace {

// Addresses only; the builder never reads them.
const std::byte* page_address(std::uint64_t page) {
    return reinterpret_cast<const std::byte*>((std::uintptr_t{1} << 32) + page * kPageSize);
}

const RegionId kRam{0};
const RegionId kVga{1};

std::uint64_t add(PacketBuilder& packet, std::uint64_t first, std::uint64_t count, PageKind kind,
                  RegionId region = kRam) {
    return packet.add(region, {{first, count}, kind}, page_address(first));
}

TEST_CASE("a packet takes normal pages up to its size and any number of others") {
    PacketBuilder packet(4 * kPageSize);
    CHECK(packet.empty());
    CHECK(add(packet, 10, 3, PageKind::kNormal) == 3);
    CHECK_FALSE(packet.full());
    CHECK(add(packet, 13, 100'000'000, PageKind::kZero) == 100'000'000);
    CHECK(add(packet, 100'000'013, 5, PageKind::kNormal) == 1);
    CHECK(packet.full());
    CHECK(add(packet, 100'000'014, 4, PageKind::kNormal) == 0);
    CHECK(add(packet, 100'000'014, 4, PageKind::kUnpopulated) == 4);
    CHECK(packet.first_page() == 10);
    CHECK(packet.counts() == PageCounts{4, 100'000'000, 4});
    packet.clear();
    CHECK(packet.empty());
    CHECK_FALSE(packet.full());
    CHECK(packet.counts() == PageCounts{});
    CHECK(packet.payload().empty());
}

TEST_CASE("a packet is of one region") {
    PacketBuilder packet(4 * kPageSize);
    CHECK(add(packet, 0, 1, PageKind::kZero) == 1);
    CHECK(add(packet, 1, 1, PageKind::kZero, kVga) == 0);
    packet.clear();
    CHECK(add(packet, 1, 1, PageKind::kZero, kVga) == 1);
    CHECK(packet.region() == kVga);
}

TEST_CASE("a packet's pages ascend") {
    PacketBuilder packet(4 * kPageSize);
    CHECK(add(packet, 50, 10, PageKind::kZero) == 10);
    CHECK(add(packet, 59, 1, PageKind::kZero) == 0);
    CHECK(add(packet, 0, 1, PageKind::kNormal) == 0);
    CHECK(add(packet, 60, 1, PageKind::kNormal) == 1);
    CHECK(packet.counts() == PageCounts{1, 10, 0});
}

TEST_CASE("content that lies together is one part of the payload") {
    PacketBuilder packet(8 * kPageSize);
    add(packet, 0, 2, PageKind::kNormal);
    add(packet, 2, 1, PageKind::kNormal);
    add(packet, 3, 1, PageKind::kZero);
    add(packet, 4, 2, PageKind::kNormal);
    const auto payload = packet.payload();
    REQUIRE(payload.size() == 2);
    CHECK(payload[0].iov_base == page_address(0));
    CHECK(payload[0].iov_len == 3 * kPageSize);
    CHECK(payload[1].iov_base == page_address(4));
    CHECK(payload[1].iov_len == 2 * kPageSize);
}

TEST_CASE("alternating pages fill the largest packet") {
    PacketBuilder packet(kMaxPacketBytes);
    std::uint64_t page = 0;
    while (!packet.full()) {
        REQUIRE(add(packet, page, 1, PageKind::kNormal) == 1);
        REQUIRE(add(packet, page + 1, 1, PageKind::kZero) == 1);
        page += 2;
    }
    CHECK(packet.counts() == PageCounts{1024, 1024, 0});
    CHECK(packet.payload().size() == 1024);
    CHECK(packet.finish_runs().size() == 2048);
}

TEST_CASE("a packet whose run list is full takes nothing more") {
    PacketBuilder packet(kMinPacketBytes);
    std::uint64_t page = 0;
    while (add(packet, page, 1, page % 2 == 0 ? PageKind::kZero : PageKind::kUnpopulated) == 1)
        ++page;
    CHECK(packet.counts().total() == page);
    CHECK(page > 8000);
    CHECK(packet.finish_runs().size() <= kMaxRunBytes);
}

}  // namespace
}  // namespace migrate::transport
