// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/crc32c.hpp"

#include <array>

namespace migrate::accel::softdsa {
namespace {

constexpr std::uint32_t kPolynomial = 0x1EDC6F41;

constexpr std::uint32_t reversed(std::uint32_t word) {
    std::uint32_t result = 0;
    for (int bit = 0; bit < 32; ++bit, word >>= 1U) result = result << 1U | (word & 1U);
    return result;
}

// Remainders of the bytes 0 to 255, the most significant bit first.
constexpr auto kRemainders = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
        std::uint32_t rest = byte << 24U;
        for (int bit = 0; bit < 8; ++bit)
            rest = (rest & 0x8000'0000U) != 0 ? rest << 1U ^ kPolynomial : rest << 1U;
        table[byte] = rest;
    }
    return table;
}();

constexpr auto kReversedBytes = [] {
    std::array<std::uint8_t, 256> table{};
    for (std::uint32_t byte = 0; byte < table.size(); ++byte)
        table[byte] = static_cast<std::uint8_t>(reversed(byte) >> 24U);
    return table;
}();

}  // namespace

std::uint32_t crc32c(std::uint32_t seed, std::span<const std::byte> data, CrcForm form,
                     CrcData order) {
    std::uint32_t rest = form == CrcForm::kReflected ? reversed(~seed) : seed;
    for (const std::byte value : data) {
        auto byte = std::to_integer<std::uint8_t>(value);
        if (order == CrcData::kLeastSignificantFirst) byte = kReversedBytes[byte];
        rest = rest << 8U ^ kRemainders[rest >> 24U ^ byte];
    }
    return form == CrcForm::kReflected ? reversed(~rest) : rest;
}

}  // namespace migrate::accel::softdsa
