// SPDX-License-Identifier: Apache-2.0
#include "base/little_endian.hpp"

#include <array>

#include "catch.hpp"

using namespace migrate;

static_assert([] {
    std::array<std::byte, 4> bytes{};
    store_le(bytes.data(), std::uint32_t{0x11223344});
    return bytes[0] == std::byte{0x44} && bytes[3] == std::byte{0x11} &&
           load_le<std::uint32_t>(bytes.data()) == 0x11223344;
}());

TEST_CASE("the least significant byte is stored first") {
    std::array<std::byte, 8> bytes{};
    store_le(bytes.data(), std::uint64_t{0x0102030405060708});
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        CHECK(std::to_integer<std::size_t>(bytes.at(i)) == 8 - i);
    }
}

TEST_CASE("a field is read as it was written at any alignment and touches nothing else") {
    for (std::size_t at = 0; at < 8; ++at) {
        std::array<std::byte, 17> bytes{};
        bytes.fill(std::byte{0xEE});
        store_le(bytes.data() + at, std::uint64_t{0xFEDCBA9876543210});
        CHECK(load_le<std::uint64_t>(bytes.data() + at) == 0xFEDCBA9876543210);
        CHECK(load_le<std::uint8_t>(bytes.data() + at) == 0x10);
        CHECK(load_le<std::uint16_t>(bytes.data() + at) == 0x3210);
        CHECK(load_le<std::uint32_t>(bytes.data() + at) == 0x76543210);
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            if (i < at || i >= at + 8) CHECK(bytes.at(i) == std::byte{0xEE});
        }
    }
}
