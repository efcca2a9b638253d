// SPDX-License-Identifier: Apache-2.0
#include "engine/send/tail_probe.hpp"

#include <stop_token>
#include <thread>
#include <vector>

#include "catch.hpp"

namespace migrate::engine {
namespace {

constexpr std::uint64_t kRate = std::uint64_t{100} * kMiB;  // its tail has 2560 pages
constexpr std::uint64_t kTailPages = 10 * kMiB / kPageSize;

TEST_CASE("a tail is a tenth of a second of the limit, within its bounds") {
    CHECK(TailProbe::tail_bytes(0) == 0);
    CHECK(TailProbe::tail_bytes(10 * kMiB - 1) == 0);
    CHECK(TailProbe::tail_bytes(10 * kMiB) == kMiB);
    CHECK(TailProbe::tail_bytes(kRate) == 10 * kMiB);
    CHECK(TailProbe::tail_bytes(100 * kGiB) == 32 * kMiB);
}

TEST_CASE("the tail begins with the count that leaves no more than it") {
    transport::Pacer pacer(kRate);
    TailProbe probe(pacer);
    const std::stop_source stop;
    probe.begin(10'000);
    probe.count(10'000 - kTailPages - 1);
    REQUIRE(pacer.acquire(1, stop.get_token()));
    CHECK_FALSE(probe.end());
    probe.begin(10'000);
    probe.count(10'000 - kTailPages - 1);
    probe.count(1);
    REQUIRE(pacer.acquire(5, stop.get_token()));
    probe.count(kTailPages);
    const auto tail = probe.end();
    REQUIRE(tail);
    CHECK(tail->bytes == 5);
}

TEST_CASE("a round that is not larger than a tail is one") {
    transport::Pacer pacer(kRate);
    TailProbe probe(pacer);
    const std::stop_source stop;
    probe.begin(kTailPages);
    REQUIRE(pacer.acquire(kPageSize, stop.get_token()));
    probe.count(kTailPages);
    CHECK(probe.end().has_value());
}

TEST_CASE(
    "there is no tail without a limit, at a low one, if not wanted, and in a continued round") {
    for (const std::uint64_t rate : {std::uint64_t{0}, kMiB}) {
        transport::Pacer pacer(rate);
        TailProbe probe(pacer);
        const std::stop_source stop;
        probe.begin(1);
        REQUIRE(pacer.acquire(1, stop.get_token()));
        probe.count(1);
        CHECK_FALSE(probe.end());
    }
    transport::Pacer pacer(kRate);
    TailProbe probe(pacer);
    const std::stop_source stop;
    probe.want(false);
    probe.begin(1);
    REQUIRE(pacer.acquire(1, stop.get_token()));
    CHECK_FALSE(probe.end());
    probe.want(true);
    probe.begin(1);
    REQUIRE(pacer.acquire(1, stop.get_token()));
    probe.give_up();
    probe.count(1);
    CHECK_FALSE(probe.end());
}

TEST_CASE("one of many threads begins the tail") {
    transport::Pacer pacer(kRate);
    TailProbe probe(pacer);
    const std::stop_source stop;
    probe.begin(100'000);
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int j = 0; j < 25'000; ++j) probe.count(1);
        });
    }
    threads.clear();
    REQUIRE(pacer.acquire(5, stop.get_token()));
    const auto tail = probe.end();
    REQUIRE(tail);
    CHECK(tail->bytes == 5);
}

}  // namespace
}  // namespace migrate::engine
