// SPDX-License-Identifier: Apache-2.0
#include "transport/pacer.hpp"

#include <thread>
#include <vector>

#include "catch.hpp"

namespace migrate::transport {
namespace {

constexpr std::uint64_t kHuge = std::uint64_t{1} << 50;

TEST_CASE("no thread waits without a limit") {
    Pacer pacer(0);
    const std::stop_source stop;
    for (int i = 0; i < 1000; ++i) REQUIRE(pacer.acquire(kHuge, stop.get_token()));
}

TEST_CASE("a stop that came before is noticed with and without a limit") {
    for (const std::uint64_t rate : {std::uint64_t{0}, std::uint64_t{1}}) {
        Pacer pacer(rate);
        std::stop_source stop;
        stop.request_stop();
        CHECK_FALSE(pacer.acquire(1, stop.get_token()));
    }
}

TEST_CASE("one packet may overdraw the budget; stop wakes those that wait for it to be even") {
    Pacer pacer(1);  // the overdraft would take millions of years to pay
    std::stop_source stop;
    REQUIRE(pacer.acquire(kHuge, stop.get_token()));
    bool acquired = true;
    std::jthread waiter([&] { acquired = pacer.acquire(1, stop.get_token()); });
    stop.request_stop();
    waiter.join();
    CHECK_FALSE(acquired);
}

TEST_CASE("a new rate takes effect for those that wait already") {
    for (const std::uint64_t rate : {std::uint64_t{0}, kHuge}) {
        Pacer pacer(1);
        const std::stop_source stop;
        REQUIRE(pacer.acquire(kHuge, stop.get_token()));
        bool acquired = false;
        std::jthread waiter([&] { acquired = pacer.acquire(1, stop.get_token()); });
        pacer.set_rate(rate);
        waiter.join();
        CHECK(acquired);
    }
}

TEST_CASE("a burst passes at once, and the next one waits until it is paid for") {
    Pacer pacer(1);
    std::stop_source stop;
    REQUIRE(pacer.acquire(kHuge, stop.get_token()));
    bool acquired = false;
    std::jthread waiter([&] { acquired = pacer.acquire(5, stop.get_token()); });
    pacer.begin_burst();
    waiter.join();
    CHECK(acquired);
    REQUIRE(pacer.acquire(7, stop.get_token()));
    const auto burst = pacer.end_burst();
    REQUIRE(burst);
    CHECK(burst->bytes == 12);
    CHECK(burst->began <= std::chrono::steady_clock::now());
    CHECK_FALSE(pacer.end_burst());
    pacer.begin_burst();
    std::jthread late([&] { acquired = pacer.acquire(1, stop.get_token()); });
    stop.request_stop();
    late.join();
    CHECK_FALSE(acquired);
    CHECK_FALSE(pacer.end_burst());
}

TEST_CASE("a burst ends without figures if the rate changes, and counts nothing without a limit") {
    const std::stop_source stop;
    Pacer pacer(kHuge);
    pacer.begin_burst();
    REQUIRE(pacer.acquire(5, stop.get_token()));
    pacer.set_rate(0);
    CHECK(pacer.rate() == 0);
    CHECK_FALSE(pacer.end_burst());
    pacer.begin_burst();
    REQUIRE(pacer.acquire(5, stop.get_token()));
    CHECK_FALSE(pacer.end_burst());
}

TEST_CASE("many threads share one budget, and all get through") {
    Pacer pacer(kHuge);
    const std::stop_source stop;
    std::vector<int> acquired(4);
    std::vector<std::jthread> threads;
    for (int& count : acquired) {
        threads.emplace_back([&] {
            for (int i = 0; i < 200; ++i)
                count += pacer.acquire(kHuge / 1'000'000, stop.get_token()) ? 1 : 0;
        });
    }
    threads.clear();
    CHECK(acquired == std::vector<int>(4, 200));
}

}  // namespace
}  // namespace migrate::transport
