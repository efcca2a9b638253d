// SPDX-License-Identifier: Apache-2.0
// The channels of a connection, which ends and is made again while its session goes on.
#include <thread>

#include "catch.hpp"
#include "tests/engine/channel_groups.hpp"

namespace migrate::engine {
namespace {

TEST_CASE("a session's rounds go on over the connection that took the place of another") {
    Groups groups("anon:8M,fill=random");
    groups.connect();
    const RoundPlan all = RoundPlan::all(groups.regions, kGroupChannels);
    const auto first = groups.round(1, RoundPlan::all(groups.regions, kGroupChannels));
    CHECK(first.normal_pages == all.pages());
    groups.sending->shutdown();
    groups.receiving->shutdown();
    CHECK_FALSE(groups.sender_session.stopped());
    CHECK_FALSE(groups.receiver_session.stopped());

    groups.connect();
    std::vector<memory::PageBitmap> written;
    written.push_back(must(memory::PageBitmap::create(groups.regions[0].pages())));
    written[0].set({5, 7});
    const auto second =
        groups.round(2, RoundPlan::written(groups.regions, kGroupChannels, written, {}));
    CHECK(second.normal_pages == 7);
    CHECK(groups.receiving->pages().total() == 7);
    CHECK_FALSE(groups.sender_session.error());
    CHECK_FALSE(groups.receiver_session.error());
}

TEST_CASE("a round is issued again over a new connection without the pages that have arrived") {
    Groups groups("anon:8M,fill=random");
    std::vector<memory::PageBitmap> arrived;
    arrived.push_back(must(memory::PageBitmap::create(groups.regions[0].pages())));
    arrived[0].set({0, 100});
    arrived[0].set({700, 1000});
    const RoundPlan whole = RoundPlan::all(groups.regions, kGroupChannels);
    groups.connect();
    groups.sending->shutdown();
    groups.connect();
    groups.receiving->begin_round(1);
    const auto sent = must(groups.sending->run(1, whole.without(arrived)));
    must(groups.receiving->finish_round(1));
    CHECK(sent.normal_pages == whole.pages() - 1100);
    CHECK(groups.receiving->pages().total() == whole.pages() - 1100);
}

TEST_CASE("a connection that is shut down in a round ends the round and not the session") {
    Groups groups("anon:64M,fill=random");
    // Nobody reads: the round cannot end by itself.
    groups.connect();
    std::jthread ends([&] { groups.sending->shutdown(); });
    const auto sent = groups.sending->run(1, RoundPlan::all(groups.regions, kGroupChannels));
    ends.join();
    REQUIRE_FALSE(sent);
    CHECK(sent.error().kind() == ErrorKind::kCancelled);
    CHECK_FALSE(groups.sender_session.stopped());
    groups.connect();
    CHECK(groups.round(1, RoundPlan::all(groups.regions, kGroupChannels)).normal_pages ==
          groups.regions[0].pages());
}

TEST_CASE("the stop of a session ends its connection, and a channel's error is the session's") {
    Groups groups("anon:64M,fill=random");
    groups.connect();
    groups.receiver_session.fail(Error("disk full"));
    groups.receiving.reset();
    const auto sent = groups.sending->run(1, RoundPlan::all(groups.regions, kGroupChannels));
    REQUIRE_FALSE(sent);
    groups.sending->finish();
    REQUIRE(groups.sender_session.error());
    CHECK_THAT(groups.sender_session.error()->message(), Catch::Matchers::Contains("channel"));
}

}  // namespace
}  // namespace migrate::engine
