// SPDX-License-Identifier: Apache-2.0
// Bytes that do not compress.
#pragma once

#include <cstddef>
#include <random>
#include <vector>

#include "tests/support/seed.hpp"

namespace migrate {

inline std::vector<std::byte> noise(std::size_t size, unsigned seed) {
    std::mt19937_64 random(seed);
    std::vector<std::byte> bytes(size);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    return bytes;
}

inline std::vector<std::byte> noise(std::size_t size) { return noise(size, test_seed()); }

}  // namespace migrate
