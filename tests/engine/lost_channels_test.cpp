// SPDX-License-Identifier: Apache-2.0
// Data channels that are lost in a round: the others go on, and what did not arrive is sent again.
#include <atomic>
#include <cstring>
#include <thread>

#include "catch.hpp"
#include "engine/send/arrived_bitmaps.hpp"
#include "engine/send/channel_repair.hpp"
#include "tests/engine/channel_groups.hpp"
#include "tests/support/long_wait.hpp"
#include "transport/arrived_pages.hpp"

namespace migrate::engine {
namespace {

using Catch::Matchers::Contains;
using std::chrono::milliseconds;

struct Lossy : Groups {
    explicit Lossy(const std::string& uri, std::optional<std::size_t> silent = std::nullopt)
        : Groups(uri, true) {
        connect(silent);
    }

    RoundPlan all() const { return RoundPlan::all(regions, kGroupChannels); }
    // Cuts these channels once so many pages have arrived in the first round.
    std::jthread cut_after(std::uint64_t pages, std::vector<std::size_t> channels) {
        return std::jthread([this, pages, channels = std::move(channels)] {
            while (receiving->pages().total() < pages) std::this_thread::yield();
            for (const std::size_t channel : channels) cut(channel);
        });
    }
    // Both sides settle what was lost in this part of a round; returns the receiver's report.
    std::vector<transport::LostChannel> settle(std::uint32_t round) {
        must(receiving->end_channels(sending->losses().unsettled()));
        must(receiving->finish_round(round));
        auto lost = receiving->take_losses();
        must(sending->settle_losses(lost));
        return lost;
    }
    // The pages that are in place, as they travel to the sender.
    ArrivedBitmaps arrived(std::uint32_t round) {
        ArrivedBitmaps bitmaps = must(ArrivedBitmaps::create(regions));
        transport::ArrivedEncoder encoder(round);
        const memory::PageBitmap& seen = placer->arrived(RegionId{0});
        const auto take = [&](const std::string& body) {
            if (!body.empty()) must(bitmaps.add(round, body));
        };
        for (std::uint64_t page = 0; page < seen.pages(); ++page) {
            if (seen.test(page)) take(encoder.add(RegionId{0}, {page, 1}));
        }
        take(encoder.finish());
        return bitmaps;
    }
    void check_copy() {
        const auto is = sink->memory(RegionId{0});
        const auto was = source->memory(RegionId{0});
        REQUIRE(is.size() == was.size());
        CHECK(std::memcmp(is.data(), was.data(), is.size()) == 0);
        CHECK(sending->pages() == receiving->pages());
        CHECK_FALSE(sender_session.stopped());
        CHECK_FALSE(receiver_session.stopped());
    }
};

// Adds a channel when there is none.
class Replacing final : public LossWatch {
  public:
    explicit Replacing(Groups& groups) : groups_(groups) {}
    void begin() override {}
    void in_round(const transport::RoundMark& /*mark*/) override {}
    Result<transport::Resumed> rejoin() override { return Error("there is no main channel"); }
    void hand_over(const transport::RoundMark& /*last*/) override {}
    std::optional<RoundGate::Clock::time_point> next_look() const override { return std::nullopt; }
    Status look() override { return {}; }
    Status await_channel() override {
        ++waits;
        const auto present = groups_.sending->count();
        auto pair = groups_.make_connection();
        std::vector<PathSocket> near;
        std::vector<transport::Socket> far;
        near.push_back({std::move(pair.near)});
        MIGRATE_TRY(groups_.sending->prepare(std::move(near), {}));
        Groups::take_hello(pair.far);
        far.push_back(std::move(pair.far));
        MIGRATE_TRY(groups_.receiving->end_channels(groups_.sending->losses().unsettled()));
        MIGRATE_TRY(groups_.receiving->add(std::move(far)));
        groups_.sending->admit(static_cast<std::uint16_t>(present + 1));
        return {};
    }
    int waits = 0;

  private:
    Groups& groups_;
};

TEST_CASE("a round goes on without the channels that were lost, and its rest follows") {
    Lossy groups("anon:64M,fill=random");
    const std::uint64_t pages = groups.regions[0].pages();
    const auto cutter = groups.cut_after(pages / 8, {0, 2});
    groups.receiving->begin_round(1);
    must(groups.sending->run(1, groups.all()));
    const auto lost = groups.settle(1);
    REQUIRE(lost.size() == 2);
    CHECK(lost[0].channel == 0);
    CHECK(lost[1].channel == 2);
    CHECK(groups.receiving->pages() == groups.sending->pages());
    const OutageReport outages = groups.sending->losses().report();
    CHECK(outages.channels_lost == 2);
    CHECK(outages.outages == 0);
    // Only bytes in flight can be lost: the buffers of the socket, and two packets of each channel.
    CHECK(outages.pages_sent_again * kPageSize <= 2 * (16 * kMiB));

    const ArrivedBitmaps arrived = groups.arrived(1);
    CHECK(arrived.pages() == groups.receiving->pages().total());
    CHECK(groups.sending->missing(arrived.bitmaps()) == pages - arrived.pages());
    groups.receiving->continue_round(1);
    const auto sent = must(groups.sending->continue_round(arrived.bitmaps(), {}));
    CHECK(sent.normal_pages == pages);
    CHECK(groups.settle(1).empty());
    must(groups.placer->finish_full_round());
    groups.check_copy();
}

// Finds every other page.
class EveryOther final : public WrittenAgain {
  public:
    Status find(RegionId /*region*/, PageRange pages, memory::PageBitmap& again) override {
        for (std::uint64_t page = pages.first; page < pages.end(); ++page) {
            if (page % 2 == 1) again.set({page, 1});
        }
        return {};
    }
};

TEST_CASE("a round that is repaired sends every page that was not postponed, and no other") {
    Lossy groups("anon:64M,fill=random");
    const std::uint64_t pages = groups.regions[0].pages();
    EveryOther finder;
    std::vector<memory::PageBitmap> postponed;
    postponed.push_back(must(memory::PageBitmap::create(pages)));
    const auto cutter = groups.cut_after(pages / 8, {0, 2});
    groups.receiving->begin_round(2);
    must(groups.sending->run(2, groups.all().postponing(finder, postponed), {}));
    REQUIRE(groups.settle(2).size() == 2);
    const ArrivedBitmaps arrived = groups.arrived(2);
    CHECK(arrived.pages() == groups.receiving->pages().total());
    CHECK(arrived.pages() < pages / 2);
    // Every page of a part that nobody has looked at yet is missing.
    CHECK(groups.sending->missing(arrived.bitmaps()) >= pages / 2 - arrived.pages());
    groups.receiving->continue_round(2);
    const auto sent = must(groups.sending->continue_round(arrived.bitmaps(), {}));
    CHECK(sent.postponed == pages / 2);
    CHECK(sent.normal_pages == pages / 2);
    CHECK(groups.settle(2).empty());
    must(groups.placer->finish_round(pages - sent.postponed));

    // The next round sends the others.
    groups.receiving->begin_round(3);
    const auto rest =
        must(groups.sending->run(3, RoundPlan::written(groups.regions, 1, postponed, {}), {}));
    CHECK(rest.postponed == 0);
    CHECK(groups.settle(3).empty());
    must(groups.placer->finish_round(pages / 2));
    groups.check_copy();
}

TEST_CASE("a round that loses all of its channels goes on over the next one") {
    Lossy groups("anon:64M,fill=random");
    Replacing replacing(groups);
    const auto cutter = groups.cut_after(groups.regions[0].pages() / 8, {0, 1, 2});
    groups.receiving->begin_round(1);
    must(groups.sending->run(1, groups.all(), {nullptr, &replacing}));
    CHECK(replacing.waits == 1);
    CHECK(groups.settle(1).size() == 3);
    const ArrivedBitmaps arrived = groups.arrived(1);
    groups.receiving->continue_round(1);
    must(groups.sending->continue_round(arrived.bitmaps(), {nullptr, &replacing}));
    CHECK(groups.settle(1).empty());
    must(groups.placer->finish_full_round());
    groups.check_copy();
    // Further rounds use it, too.
    std::vector<memory::PageBitmap> written;
    written.push_back(must(memory::PageBitmap::create(groups.regions[0].pages())));
    written[0].set({5, 7});
    groups.round(2, RoundPlan::written(groups.regions, kGroupChannels, written, {}));
    groups.check_copy();
}

TEST_CASE("a loss that only one side has noticed after the round costs nothing") {
    Lossy groups("anon:8M,fill=random");
    groups.receiving->begin_round(1);
    must(groups.sending->run(1, groups.all()));
    must(groups.receiving->finish_round(1));
    // The sender's: no thread of either side uses the channel now.
    const std::uint16_t ids[] = {1};
    must(groups.receiving->end_channels(ids));
    const auto lost = groups.receiving->take_losses();
    REQUIRE(lost.size() == 1);
    must(groups.sending->settle_losses(lost));
    const ArrivedBitmaps arrived = groups.arrived(1);
    CHECK(groups.sending->missing(arrived.bitmaps()) == 0);
    CHECK(groups.sending->losses().report().pages_sent_again == 0);
    CHECK(groups.sending->losses().report().bytes_lost == 0);
    groups.receiving->continue_round(1);
    must(groups.sending->continue_round(arrived.bitmaps(), {}));
    CHECK(groups.settle(1).empty());
    must(groups.placer->finish_full_round());
    groups.check_copy();
}

TEST_CASE("a channel on which nothing arrives is lost once the round has ended") {
    Lossy groups("anon:8M,fill=random", 1);
    groups.receiving->begin_round(1);
    must(groups.sending->run(1, groups.all()));
    CHECK(groups.sending->losses().unsettled().empty());
    const auto lost = groups.settle(1);
    REQUIRE(lost.size() == 1);
    CHECK(lost[0].channel == 1);
    CHECK(lost[0].pages.total() == 0);
    const ArrivedBitmaps arrived = groups.arrived(1);
    groups.receiving->continue_round(1);
    must(groups.sending->continue_round(arrived.bitmaps(), {}));
    CHECK(groups.settle(1).empty());
    must(groups.placer->finish_full_round());
    groups.check_copy();
}

TEST_CASE("a lost channel is an error of the session if it does not survive that") {
    Groups groups("anon:64M,fill=random");
    groups.connect();
    groups.receiving->begin_round(1);
    groups.cut(1);
    const auto sent = groups.sending->run(1, RoundPlan::all(groups.regions, kGroupChannels));
    REQUIRE_FALSE(sent);
    REQUIRE(groups.sender_session.error());
    CHECK_THAT(groups.sender_session.error()->message(), Contains("channel"));
    const std::uint16_t ids[] = {1};
    const Status ended = groups.receiving->end_channels(ids);
    REQUIRE_FALSE(ended);
    CHECK(ended.error().kind() == ErrorKind::kProtocol);
}

TEST_CASE("a loss that was not settled is an error once the session does not survive losses") {
    Lossy groups("anon:64M,fill=random");
    groups.cut(1);
    groups.receiving->begin_round(1);
    must(groups.sending->run(1, groups.all()));
    const Status failed = groups.sending->fail_on_loss();
    REQUIRE_FALSE(failed);
    CHECK(failed.error().kind() == ErrorKind::kLostConnection);
    CHECK_THAT(failed.error().message(), Contains("channel 1"));
}

TEST_CASE("a receiver's report on lost channels is not believed if it cannot be true") {
    Lossy groups("anon:64M,fill=random");
    const auto cutter = groups.cut_after(1000, {1});
    groups.receiving->begin_round(1);
    must(groups.sending->run(1, groups.all()));
    must(groups.receiving->end_channels(groups.sending->losses().unsettled()));
    must(groups.receiving->finish_round(1));
    const auto honest = groups.receiving->take_losses();
    REQUIRE(honest.size() == 1);
    const auto refuses = [&](std::vector<transport::LostChannel> lost, const std::string& words) {
        const Status status = groups.sending->settle_losses(lost);
        REQUIRE_FALSE(status);
        CHECK(status.error().kind() == ErrorKind::kProtocol);
        CHECK_THAT(status.error().message(), Contains(words));
    };
    transport::LostChannel other = honest.front();
    refuses({}, "does not name channel 1");
    other.channel = kGroupChannels;
    refuses({other}, "there are 3 channels");
    other = honest.front();
    other.pages.normal += groups.regions[0].pages();
    refuses({other}, "more arrived on channel 1 than was sent on it");
    must(groups.sending->settle_losses(honest));
    refuses(honest, "channel 1 twice");
}

TEST_CASE("attempts to reconnect come ever later, and at once again after a good connection") {
    using Clock = ReconnectPacing::Clock;
    ReconnectPacing pacing;
    Clock::time_point now = Clock::now();
    CHECK(pacing.due() <= now);
    milliseconds last{0};
    for (int i = 0; i < 12; ++i) {
        pacing.tried(now);
        const auto pause = std::chrono::duration_cast<milliseconds>(pacing.due() - now);
        CHECK(pause >= std::min(2 * last, milliseconds(8000)));
        CHECK(pause.count() > 0);
        CHECK(pause <= milliseconds(8000));
        last = pause;
        now = pacing.due();
    }
    CHECK(last == milliseconds(8000));
    now += milliseconds(20'000);
    pacing.tried(now);
    CHECK(pacing.due() - now < milliseconds(100));
    // It was lost at once.
    pacing.tried(pacing.due());
    CHECK(pacing.due() - now >= milliseconds(100));
}

}  // namespace
}  // namespace migrate::engine
