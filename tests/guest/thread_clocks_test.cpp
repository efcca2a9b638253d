// SPDX-License-Identifier: Apache-2.0
#include "guest/external/thread_clocks.hpp"

#include <unistd.h>

#include <array>
#include <ctime>
#include <thread>

#include "catch.hpp"

namespace migrate::guest {
namespace {

TEST_CASE("the CPU time of named threads grows by what they use, and other threads do not count") {
    const std::array own{static_cast<std::uint64_t>(::gettid())};
    const ThreadClocks clocks = ThreadClocks::find(::getpid(), own);
    const auto before = clocks.cpu_time();
    REQUIRE(before);
    const auto burn = [] {
        timespec used{};
        const auto now = [&] {
            ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
            return used.tv_sec * 1000 + used.tv_nsec / 1'000'000;
        };
        const auto end = now() + 50;
        while (now() < end) {
        }
    };
    std::thread(burn).join();
    CHECK(*clocks.cpu_time() - *before < std::chrono::milliseconds(40));
    burn();
    CHECK(*clocks.cpu_time() - *before >= std::chrono::milliseconds(45));
}

TEST_CASE("threads that are not found, or have ended, have no known CPU time") {
    CHECK_FALSE(ThreadClocks().cpu_time());
    CHECK_FALSE(ThreadClocks::find(::getpid(), {}).cpu_time());
    const std::array both{static_cast<std::uint64_t>(::gettid()), std::uint64_t{1} << 40};
    CHECK_FALSE(ThreadClocks::find(::getpid(), both).cpu_time());
    std::uint64_t ended = 0;
    ThreadClocks clocks;
    std::thread([&] {
        ended = static_cast<std::uint64_t>(::gettid());
        clocks = ThreadClocks::find(::getpid(), std::array{ended});
        CHECK(clocks.cpu_time());
    }).join();
    CHECK_FALSE(clocks.cpu_time());
}

}  // namespace
}  // namespace migrate::guest
