// Bytes that do not compress.
#pragma once

#include <cstddef>
#include <random>
#include <vector>

#include "catch.hpp"

namespace migrate {

inline std::vector<std::byte> noise(std::size_t size, unsigned seed) {
    std::mt19937_64 random(seed);
    std::vector<std::byte> bytes(size);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    return bytes;
}

// Other bytes each time; a failure shows the seed.
inline std::vector<std::byte> noise(std::size_t size) {
    const auto seed = std::random_device{}();
    UNSCOPED_INFO("seed " << seed);
    return noise(size, seed);
}

}  // namespace migrate
