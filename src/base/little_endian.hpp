// SPDX-License-Identifier: Apache-2.0
// Explicit little-endian load and store, for wire fields at any alignment.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace migrate {

template <std::unsigned_integral T>
constexpr void store_le(std::byte* to, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        to[i] = static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i));
    }
}

template <std::unsigned_integral T>
constexpr T load_le(const std::byte* from) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        value |= std::to_integer<std::uint64_t>(from[i]) << (8 * i);
    }
    return static_cast<T>(value);
}

}  // namespace migrate
