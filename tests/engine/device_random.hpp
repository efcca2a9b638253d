// SPDX-License-Identifier: Apache-2.0
// Number of repetitions of a test with random devices, and its seed.
#pragma once

#include <cstdlib>
#include <random>

namespace migrate::engine {

// MIGRATE_TEST_DEVICE_RUNS sets it, for a long run by hand.
inline int device_runs() {
    const char* runs = std::getenv("MIGRATE_TEST_DEVICE_RUNS");
    return runs == nullptr ? 50 : std::atoi(runs);
}

class Dice {
  public:
    explicit Dice(unsigned seed) : random_(seed) {}
    // from … to, both included
    std::uint64_t roll(std::uint64_t from, std::uint64_t to) {
        return std::uniform_int_distribution<std::uint64_t>(from, to)(random_);
    }
    bool one_in(std::uint64_t n) { return roll(1, n) == 1; }

  private:
    std::mt19937 random_;
};

}  // namespace migrate::engine
