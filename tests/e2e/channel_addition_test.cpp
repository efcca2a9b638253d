// SPDX-License-Identifier: Apache-2.0
// multifd-channels=auto against peers made of plain sockets: channels that are added while a round
// runs, and peers that do it wrong.
#include <array>

#include "catch.hpp"
#include "e2e/raw_peer.hpp"
#include "e2e/test_image.hpp"
#include "e2e/transfer.hpp"
#include "tests/support/must.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using transport::FrameType;

constexpr std::uint64_t kPages = 16;

// The answer to ADD_CHANNELS.
transport::ChannelCount channels_added(RawSender& sender) {
    const auto frame = sender.main().await_frame(FrameType::kChannelsAdded);
    REQUIRE(frame);
    const auto count = transport::decode_channel_count(frame->body);
    REQUIRE(count);
    return *count;
}

// Ends the round and the session, with four pages on each of these channels.
void finish(RawSender& sender, std::initializer_list<std::size_t> ids) {
    std::uint64_t page = 0;
    for (const std::size_t id : ids) {
        const std::uint64_t count = id + 1 == ids.size() ? kPages - page : 4;
        sender.channel(id).send(zero_packet(0, {page, count}).to_bytes() + sync_packet(1));
        page += count;
    }
    sender.main().send(round_end() + completion({0, kPages, 0}));
    CHECK(sender.main().await_frame(FrameType::kDone));
}

void check_received(Receiver& receiver) {
    const int code = receiver->wait();
    INFO(receiver->both());
    CHECK(code == 0);
}

struct AutoPair {
    AutoPair() : sender(receiver.port(), make_offer(0, kPages)) {
        sender.connect_channels();
        sender.main().send(round_start());
    }
    Receiver receiver{{"--sink", "anon:"}};
    RawSender sender;
};

}  // namespace

TEST_CASE("a receiver takes channels that are announced in a round, and waits for their SYNC") {
    AutoPair pair;
    pair.sender.connect_channel(2);
    pair.sender.connect_channel(3);
    pair.sender.main().send(add_channels(4));
    CHECK(channels_added(pair.sender).channels == 4);
    finish(pair.sender, {0, 1, 2, 3});
    check_received(pair.receiver);
}

TEST_CASE("a channel that is announced and never comes is left out, and the session goes on") {
    AutoPair pair;
    pair.sender.main().send(add_channels(3));
    const transport::ChannelCount added = channels_added(pair.sender);
    CHECK(added.channels == 2);
    CHECK_THAT(added.reason, Contains("0 of 1 channels connected"));
    finish(pair.sender, {0, 1});
    check_received(pair.receiver);
    CHECK_THAT(pair.receiver->err(), Contains("a further channel is not used"));
}

TEST_CASE("a connection that is not announced is not taken, and holds nothing up") {
    AutoPair pair;
    pair.sender.connect_channel(2);
    finish(pair.sender, {0, 1});
    check_received(pair.receiver);
}

TEST_CASE("a stranger's connection does not take the place of an announced channel") {
    AutoPair pair;
    const RawSocket stranger = RawSocket::connect(pair.receiver.port());
    stranger.send(data_hello(transport::SessionId{}, 2));
    pair.sender.connect_channel(2);
    pair.sender.main().send(add_channels(3));
    CHECK(channels_added(pair.sender).channels == 3);
    finish(pair.sender, {0, 1, 2});
    check_received(pair.receiver);
}

TEST_CASE("a sender that adds more channels than agreed, or wrong ones, fails", "[hostile]") {
    const auto check = [](std::uint16_t offered, const std::string& words, const auto& act) {
        INFO(words);
        Receiver receiver({"--sink", "anon:"});
        RawSender sender(receiver.port(), make_offer(offered, kPages));
        sender.connect_channels();
        sender.main().send(round_start());
        act(sender);
        CHECK_THAT(sender.failure(), Contains(words));
        sender.close();
        CHECK(receiver->wait() == 1);
    };
    check(0, "adds channels up to 33; 2 are connected, and at most 32 were agreed on",
          [](RawSender& sender) { sender.main().send(add_channels(33)); });
    check(0, "adds channels up to 2;", [](RawSender& s) { s.main().send(add_channels(2)); });
    check(0, "adds channels up to 1;", [](RawSender& s) { s.main().send(add_channels(1)); });
    check(2, "adds channels up to 3; 2 are connected, and at most 2 were agreed on",
          [](RawSender& sender) {
              sender.connect_channel(2);
              sender.main().send(add_channels(3));
          });
    check(0, "connected channel 3; it announced 3 channels", [](RawSender& sender) {
        sender.connect_channel(3);
        sender.main().send(add_channels(3));
    });
    check(0, "connected channel 1 twice", [](RawSender& sender) {
        sender.connect_channel(1);
        sender.main().send(add_channels(3));
    });
    check(0, "adds channels again after it was told that no more are taken", [](RawSender& sender) {
        // Announced, and never connected.
        sender.main().send(add_channels(3));
        CHECK(channels_added(sender).channels == 2);
        sender.connect_channel(2);
        sender.main().send(add_channels(3));
    });
    check(0, "'channels'", [](RawSender& sender) {
        sender.main().send(frame_of(FrameType::kAddChannels, R"({"channels": 0})"));
    });
    check(0, "'channels'",
          [](RawSender& sender) { sender.main().send(frame_of(FrameType::kAddChannels, "{}")); });
    check(0, "channel 2", [](RawSender& sender) {
        sender.connect_channel(2);
        sender.main().send(add_channels(3));
        channels_added(sender);
        sender.channel(2).send("no packet at all, but longer than the header of a packet");
    });
}

namespace {

// A real sender whose receiver reads nothing from the channels: it asks for more of them.
struct Asked {
    Asked()
        : process({"send", "--connect", listener.endpoint(), "--source", "anon:64M,fill=random",
                   "--handshake-timeout", "1s", "--io-timeout", "5s"}) {
        main.emplace(listener.accept());
        REQUIRE(main->skip(transport::kHelloSize));
        const auto offer = main->await_frame(FrameType::kOffer);
        REQUIRE(offer);
        // The default travels as no setting at all, as it does from an older sender.
        CHECK_THAT(offer->body, !Contains("multifd-channels"));
    }
    void accept(std::optional<std::uint16_t> most) {
        main->send(frame_of(
            FrameType::kAccept,
            transport::encode(transport::Accept{
                .session = {}, .program = "test", .sink = "null:", .most_channels = most})));
        for (int i = 0; i < 2; ++i) channels.push_back(listener.accept());
        main->send(frame_of(FrameType::kReady, "{}"));
    }
    void answer(const transport::ChannelCount& count) {
        main->send(frame_of(FrameType::kChannelsAdded, transport::encode(count)));
    }

    RawListener listener;
    Process process;
    std::optional<RawSocket> main;
    std::vector<RawSocket> channels;
};

}  // namespace

TEST_CASE("a sender whose channels stand still asks for more, up to the receiver's maximum") {
    Asked asked;
    asked.accept(3);
    const auto frame = asked.main->await_frame(FrameType::kAddChannels);
    REQUIRE(frame);
    CHECK(must(transport::decode_channel_count(frame->body)).channels == 3);
    // The third connection came before the frame.
    const RawSocket third = asked.listener.accept();
    const std::string hello = third.read(transport::kHelloSize);
    REQUIRE(hello.size() == transport::kHelloSize);
    CHECK(hello[8] == 2);
    asked.answer({3});
    // It sends on the channel that the receiver has taken.
    CHECK(third.skip(40));
    asked.main->close();
    CHECK(asked.process.wait() == 1);
}

TEST_CASE("a sender takes a receiver's refusal of channels, and ends over one that answers wrongly",
          "[hostile]") {
    const auto check = [](const transport::ChannelCount& answer, const std::string& words) {
        INFO(words);
        Asked asked;
        asked.accept(8);
        REQUIRE(asked.main->await_frame(FrameType::kAddChannels));
        asked.answer(answer);
        const auto failure = asked.main->await_frame(FrameType::kFailure);
        if (words.empty()) {
            // Nothing is wrong: the channels stand still until io-timeout.
            REQUIRE(failure);
            CHECK_THAT(transport::decode_failure(failure->body).reason, Contains("io-timeout"));
        } else {
            REQUIRE(failure);
            CHECK_THAT(transport::decode_failure(failure->body).reason, Contains(words));
        }
        CHECK(asked.process.wait() == 1);
    };
    check({2, "no thread"}, "");
    check({1, ""}, "the receiver has 1 channels; 2 were connected and up to 4 were added");
    check({5, ""}, "the receiver has 5 channels; 2 were connected and up to 4 were added");
}

TEST_CASE("a sender ends over a receiver that never answers whether it took a channel",
          "[hostile]") {
    Asked asked;
    asked.accept(8);
    REQUIRE(asked.main->await_frame(FrameType::kAddChannels));
    // Heartbeats show that it lives.
    const auto until = std::chrono::steady_clock::now() + kDeadline;
    while (!asked.process.ended_within(std::chrono::milliseconds(100)) &&
           std::chrono::steady_clock::now() < until) {
        if (!asked.main->send(frame_of(FrameType::kHeartbeat, ""))) break;
    }
    CHECK(asked.process.wait() == 1);
    CHECK_THAT(asked.process.err(), Contains("did not answer ADD_CHANNELS within 5000 ms"));
}

TEST_CASE("a receiver that does not know how to add channels is never asked to") {
    Asked asked;
    asked.accept(std::nullopt);
    // The channels stand still until io-timeout, and no frame comes before FAILURE.
    std::optional<transport::Frame> frame = asked.main->next_frame();
    while (frame && frame->type != FrameType::kFailure) {
        CHECK(frame->type != FrameType::kAddChannels);
        frame = asked.main->next_frame();
    }
    CHECK(asked.process.wait() == 1);
}

}  // namespace migrate::e2e
