// SPDX-License-Identifier: Apache-2.0
// Lost channels between a receiver and a sender made of plain sockets: the frames as PROTOCOL.md
// has them, and senders that do it wrong.
#include "catch.hpp"
#include "e2e/raw_peer.hpp"
#include "e2e/transfer.hpp"
#include "tests/support/must.hpp"
#include "transport/arrived_pages.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using transport::FrameType;

constexpr std::uint64_t kPages = 16;

transport::Offer repaired_offer(std::uint16_t channels) {
    transport::Offer offer = make_offer(channels, kPages);
    offer.reconnect_timeout = std::chrono::seconds(60);
    return offer;
}

std::string mark(FrameType type, const transport::RoundMark& mark) {
    return frame_of(type, transport::encode(mark));
}

std::string replace_channels(std::uint16_t channels, std::vector<std::uint16_t> lost) {
    return frame_of(FrameType::kAddChannels, transport::encode(transport::ChannelCount{
                                                 .channels = channels, .lost = std::move(lost)}));
}

struct Pair {
    explicit Pair(const transport::Offer& offer) : sender(receiver.port(), offer) {
        sender.connect_channels();
        sender.main().send(round_start());
    }
    Receiver receiver{{"--sink", "anon:"}};
    RawSender sender;
};

// The receiver's report on the round: the pages that are in place, and the lost channels.
transport::RoundBreak receive_report(RawSender& sender, std::vector<PageRange>& pages) {
    const std::vector<RegionInfo> regions = make_offer(1, kPages).regions;
    while (true) {
        auto frame = sender.main().next_frame();
        REQUIRE(frame);
        if (frame->type == FrameType::kHeartbeat) continue;
        if (frame->type == FrameType::kRoundArrived) {
            const auto arrived = must(transport::decode_arrived(frame->body, regions));
            pages.insert(pages.end(), arrived.pages.begin(), arrived.pages.end());
            continue;
        }
        REQUIRE(frame->type == FrameType::kRoundBroken);
        return must(transport::decode_round_break(frame->body));
    }
}

TEST_CASE("the pages of a packet that was cut off come again on another channel", "[wire]") {
    Pair pair(repaired_offer(2));
    const std::string cut_off = normal_packet(1, {4, 4}).to_bytes();
    pair.sender.channel(0).send(zero_packet(0, {0, 4}).to_bytes() +
                                cut_off.substr(0, cut_off.size() - 100));
    pair.sender.channel(0).close();
    pair.sender.channel(1).send(zero_packet(0, {8, 8}).to_bytes() + sync_packet(1));
    // The sender has not noticed it, and has sent all there is.
    pair.sender.main().send(round_end() + completion({4, 12, 0}));
    std::vector<PageRange> pages;
    const transport::RoundBreak broken = receive_report(pair.sender, pages);
    CHECK(broken.round == 1);
    CHECK(broken.arrived == 12);
    CHECK(pages == std::vector<PageRange>{{0, 4}, {8, 8}});
    REQUIRE(broken.lost.size() == 1);
    CHECK(broken.lost[0].channel == 0);
    CHECK(broken.lost[0].pages == transport::PageCounts{0, 4, 0});

    pair.sender.main().send(mark(FrameType::kRoundAgain, {1, 4}));
    pair.sender.channel(1).send(normal_packet(2, {4, 4}).to_bytes() + sync_packet(3));
    pair.sender.main().send(round_end() + completion({4, 12, 0}));
    CHECK(pair.sender.main().await_frame(FrameType::kDone));
    pair.sender.main().send(frame_of(FrameType::kDoneAck, "{}"));
    const int code = pair.receiver->wait();
    INFO(pair.receiver->both());
    CHECK(code == 0);
}

TEST_CASE("a channel takes the place of one that only the sender has lost", "[wire]") {
    Pair pair(repaired_offer(1));
    pair.sender.channel(0).send(zero_packet(0, {0, 4}).to_bytes());
    pair.sender.connect_channel(1);
    pair.sender.main().send(replace_channels(2, {0}));
    REQUIRE(pair.sender.main().await_frame(FrameType::kChannelsAdded));
    pair.sender.channel(1).send(zero_packet(0, {8, 8}).to_bytes() + sync_packet(1));
    pair.sender.main().send(mark(FrameType::kRoundEnd, {1, kPages, {0}}));
    std::vector<PageRange> pages;
    const transport::RoundBreak broken = receive_report(pair.sender, pages);
    REQUIRE(broken.lost.size() == 1);
    // The four pages may have arrived before the receiver ended the channel.
    const std::uint64_t came = broken.lost[0].pages.zero;
    CHECK((came == 0 || came == 4));
    CHECK(broken.arrived == 8 + came);
    pair.sender.main().send(mark(FrameType::kRoundAgain, {1, 8 - came}));
    pair.sender.channel(1).send(zero_packet(2, {came, 8 - came}).to_bytes() + sync_packet(3));
    pair.sender.main().send(round_end() + completion({0, 16, 0}));
    CHECK(pair.sender.main().await_frame(FrameType::kDone));
    pair.sender.main().send(frame_of(FrameType::kDoneAck, "{}"));
    CHECK(pair.receiver->wait() == 0);
}

TEST_CASE("a sender that repairs what was not agreed on or did not break fails",
          "[wire][hostile]") {
    const auto check = [](const transport::Offer& offer, const std::string& words,
                          const auto& act) {
        INFO(words);
        Pair pair(offer);
        act(pair.sender);
        CHECK_THAT(pair.sender.failure(), Contains(words));
        pair.sender.close();
        CHECK(pair.receiver->wait() == 1);
    };
    const auto say = [](std::string text) {
        return [text = std::move(text)](RawSender& sender) { sender.main().send(text); };
    };
    const transport::Offer plain = make_offer(2, kPages);
    const transport::Offer repaired = repaired_offer(2);
    const std::string again = mark(FrameType::kRoundAgain, {1, 4});
    check(plain, "goes on without a channel, which was not agreed on",
          say(mark(FrameType::kRoundEnd, {1, kPages, {0}})));
    check(plain, "at most 2 were agreed on", say(add_channels(3)));
    check(repaired, "at most 2 were agreed on", say(add_channels(3)));
    check(repaired, "lost channel 2, and there are 2 channels",
          say(mark(FrameType::kRoundEnd, {1, kPages, {2}})));
    check(repaired, "at most 3 were agreed on", say(replace_channels(4, {0})));
    check(repaired, "a lost channel has no valid id",
          say(mark(FrameType::kRoundEnd, {1, kPages, {1024}})));
    check(repaired, "got ROUND_AGAIN", say(again));
    check(repaired, "got ROUND_AGAIN", [&](RawSender& sender) {
        sender.channel(0).send(zero_packet(0, {0, 8}).to_bytes() + sync_packet(1));
        sender.channel(1).send(zero_packet(0, {8, 8}).to_bytes() + sync_packet(1));
        sender.main().send(round_end() + again);
    });
    check(repaired, "continues round 2 in round 1", [](RawSender& sender) {
        sender.channel(0).close();
        sender.channel(1).send(zero_packet(0, {0, 16}).to_bytes() + sync_packet(1));
        sender.main().send(round_end());
        std::vector<PageRange> pages;
        receive_report(sender, pages);
        sender.main().send(mark(FrameType::kRoundAgain, {2, 0}));
    });
    check(repaired, "came twice in one round", [&](RawSender& sender) {
        sender.channel(0).close();
        sender.channel(1).send(zero_packet(0, {0, 16}).to_bytes() + sync_packet(1));
        sender.main().send(round_end());
        std::vector<PageRange> pages;
        receive_report(sender, pages);
        sender.main().send(mark(FrameType::kRoundAgain, {1, 1}));
        sender.channel(1).send(zero_packet(2, {5, 1}).to_bytes() + sync_packet(3));
    });
    check(repaired, "never came", [&](RawSender& sender) {
        sender.channel(0).close();
        sender.channel(1).send(zero_packet(0, {0, 15}).to_bytes() + sync_packet(1));
        sender.main().send(round_end());
        std::vector<PageRange> pages;
        receive_report(sender, pages);
        sender.main().send(mark(FrameType::kRoundAgain, {1, 1}));
        sender.channel(1).send(sync_packet(2));
        sender.main().send(round_end());
    });
}

}  // namespace
}  // namespace migrate::e2e
