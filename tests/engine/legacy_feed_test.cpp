// SPDX-License-Identifier: Apache-2.0
#include "engine/send/legacy_feed.hpp"

#include <atomic>
#include <thread>

#include "catch.hpp"

namespace migrate::engine {
namespace {

TEST_CASE("a fixed number of packets circulates") {
    LegacyFeed feed(3, 4 * kPageSize);
    std::stop_source stop;
    std::vector<LegacyFeed::Packet> taken;
    for (int i = 0; i < 3; ++i) {
        taken.push_back(feed.take_empty(stop.get_token()));
        REQUIRE(taken.back());
    }
    feed.give_back(std::move(taken.back()));
    taken.back() = feed.take_empty(stop.get_token());
    CHECK(taken.back());
    stop.request_stop();
    CHECK_FALSE(feed.take_empty(stop.get_token()));
}

TEST_CASE("every packet handed over is taken once, and the round ends for all") {
    constexpr unsigned kChannels = 4;
    constexpr std::uint64_t kPackets = 500;
    LegacyFeed feed(2 * kChannels, 4 * kPageSize);
    const std::stop_source stop;
    for (int round = 0; round < 2; ++round) {
        feed.begin_round();
        std::vector<std::atomic<int>> seen(kPackets);
        std::vector<std::jthread> channels;
        for (unsigned i = 0; i < kChannels; ++i) {
            channels.emplace_back([&] {
                while (LegacyFeed::Packet packet = feed.take_filled(stop.get_token())) {
                    ++seen[packet->first_page()];
                    packet->clear();
                    feed.give_back(std::move(packet));
                }
            });
        }
        for (std::uint64_t page = 0; page < kPackets; ++page) {
            LegacyFeed::Packet packet = feed.take_empty(stop.get_token());
            REQUIRE(packet);
            REQUIRE(packet->empty());
            packet->add(RegionId{0}, {{page, 1}, PageKind::kZero}, nullptr);
            feed.hand_over(std::move(packet));
        }
        feed.end_round();
        channels.clear();
        for (const auto& count : seen) REQUIRE(count == 1);
    }
}

TEST_CASE("pages that were handed over before the end of the round still come") {
    LegacyFeed feed(1, kPageSize);
    const std::stop_source stop;
    feed.hand_over(feed.take_empty(stop.get_token()));
    feed.end_round();
    CHECK(feed.take_filled(stop.get_token()));
    CHECK_FALSE(feed.take_filled(stop.get_token()));
}

TEST_CASE("stop wakes both sides of the feed") {
    LegacyFeed feed(0, kPageSize);
    std::stop_source stop;
    bool got_empty = true;
    bool got_filled = true;
    std::jthread main([&] { got_empty = feed.take_empty(stop.get_token()) != nullptr; });
    std::jthread channel([&] { got_filled = feed.take_filled(stop.get_token()) != nullptr; });
    stop.request_stop();
    main.join();
    channel.join();
    CHECK_FALSE(got_empty);
    CHECK_FALSE(got_filled);
}

}  // namespace
}  // namespace migrate::engine
