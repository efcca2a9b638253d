// SPDX-License-Identifier: Apache-2.0
#include "base/cpu_load.hpp"

#include "catch.hpp"

namespace migrate {
namespace {

TEST_CASE("the CPU line of /proc/stat is summed, and idle time includes waiting for disks") {
    const auto ticks = parse_cpu_ticks("cpu  10 20 30 400 5 6 7 8 9 10\ncpu0 1 2 3\n");
    REQUIRE(ticks);
    CHECK(ticks->all == 10 + 20 + 30 + 400 + 5 + 6 + 7 + 8);
    CHECK(ticks->idle == 405);
}

TEST_CASE("a CPU line with too few fields or other text is not known") {
    for (const char* line :
         {"", "cpu", "cpu  1 2 3 4 5 6 7", "intr 1 2 3 4 5 6 7 8", "cpu a b c"}) {
        INFO(line);
        CHECK_FALSE(parse_cpu_ticks(line));
    }
}

TEST_CASE("a thread that computes wants a CPU, and the figures are in range") {
    CpuLoad load;
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
    while (std::chrono::steady_clock::now() < until) {
    }
    const CpuUse use = load.since_last();
    REQUIRE(use.idle_share);
    CHECK(*use.idle_share >= 0);
    CHECK(*use.idle_share <= 1);
    // Nothing from a kernel without schedstats.
    if (use.wanted_cpus) CHECK(*use.wanted_cpus > 0.5);
}

TEST_CASE("this process may use at least one CPU") { CHECK(usable_cpus() >= 1); }

}  // namespace
}  // namespace migrate
