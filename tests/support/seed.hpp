// SPDX-License-Identifier: Apache-2.0
// The seed of tests that draw random numbers.
#pragma once

#include <cstdlib>
#include <random>
#include <string_view>

#include "catch.hpp"

namespace migrate {

// The same in every run, unless MIGRATE_TEST_SEED sets another: a number, or "random" for a new one
// each time. A failure shows it.
inline unsigned test_seed() {
    static const unsigned seed = [] {
        const char* set = std::getenv("MIGRATE_TEST_SEED");
        if (set == nullptr) return 20240611U;
        if (std::string_view(set) == "random") return std::random_device{}();
        return static_cast<unsigned>(std::strtoul(set, nullptr, 10));
    }();
    UNSCOPED_INFO("MIGRATE_TEST_SEED=" << seed);
    return seed;
}

}  // namespace migrate
