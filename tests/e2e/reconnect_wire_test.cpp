// SPDX-License-Identifier: Apache-2.0
// A sender made of plain sockets that returns to its receiver after the main channel was lost: the
// frames as PROTOCOL.md has them, and peers that may not return.
#include <csignal>

#include "catch.hpp"
#include "e2e/events_file.hpp"
#include "e2e/raw_peer.hpp"
#include "e2e/transfer.hpp"
#include "tests/support/must.hpp"
#include "transport/arrived_pages.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using transport::FrameType;

constexpr std::uint64_t kPages = 16;

transport::Offer repaired_offer() {
    transport::Offer offer = make_offer(1, kPages);
    offer.reconnect_timeout = std::chrono::seconds(60);
    return offer;
}

struct Return {
    transport::SessionId session{};
    std::uint16_t epoch = 1;
    std::uint32_t round = 1;
    std::vector<std::uint64_t> sizes{kPages * kPageSize};
};

RawSocket return_to(std::uint16_t port, const Return& by) {
    RawSocket socket = RawSocket::connect(port);
    socket.send(
        text_of_bytes(transport::encode_hello({.role = transport::ConnectionRole::kResume,
                                               .epoch = by.epoch,
                                               .session = by.session})) +
        frame_of(FrameType::kResume, transport::encode(transport::Resume{by.round, by.sizes})));
    return socket;
}

std::string reason_to_refuse(RawSocket socket) {
    const auto frame = socket.await_frame(FrameType::kRefuse);
    REQUIRE(frame);
    return transport::decode_failure(frame->body).reason;
}

transport::Resumed take_answer(RawSocket& socket) {
    const auto frame = socket.await_frame(FrameType::kResumed);
    REQUIRE(frame);
    return must(transport::decode_resumed(frame->body));
}

// A receiver in the first round of a session whose sender is the test.
struct RunningRound {
    RunningRound() {
        sender.connect_channels();
        sender.main().send(round_start());
        REQUIRE(events.await("MIGRATION_PASS"));
    }

    EventsFile events;
    Receiver receiver{{"--sink", "anon:", "--events", events.path()}};
    RawSender sender{receiver.port(), repaired_offer()};
};

TEST_CASE("only the sender of the session returns, in a new epoch and with the same memory",
          "[wire][hostile]") {
    RunningRound round;
    Receiver& receiver = round.receiver;
    RawSender& sender = round.sender;
    sender.channel(0).send(normal_packet(0, {0, 4}).to_bytes());
    sender.main().close();
    REQUIRE(receiver->await_text("the main channel was lost in round 1"));

    Return by{.session = sender.session()};
    Return stranger = by;
    stranger.session[3] ^= std::byte{1};
    CHECK_THAT(reason_to_refuse(return_to(receiver.port(), stranger)),
               Contains("does not know this session"));
    Return old = by;
    old.epoch = 0;
    CHECK_THAT(reason_to_refuse(return_to(receiver.port(), old)),
               Contains("epoch 0 was used before; the present one is 0"));
    Return larger = by;
    larger.sizes[0] += kPageSize;
    CHECK_THAT(reason_to_refuse(return_to(receiver.port(), larger)),
               Contains("the sender's memory changed its size"));
    Return elsewhere = by;
    elsewhere.round = 3;
    CHECK_THAT(reason_to_refuse(return_to(receiver.port(), elsewhere)),
               Contains("the sender returns in round 3, this side is in 1"));
    RawSocket second_sender = RawSocket::connect(receiver.port());
    second_sender.send(main_hello() +
                       frame_of(FrameType::kOffer, transport::encode(repaired_offer())));
    CHECK_THAT(reason_to_refuse(std::move(second_sender)), Contains("busy with another sender"));

    by.epoch = 7;
    RawSocket main = return_to(receiver.port(), by);
    CHECK(take_answer(main).round == 1);
    main.close();
    REQUIRE(receiver->await_text("returned (epoch 7)"));
    CHECK_THAT(reason_to_refuse(return_to(receiver.port(), by)),
               Contains("epoch 7 was used before; the present one is 7"));
    receiver->signal(SIGINT);
    CHECK(receiver->wait() == 4);
}

TEST_CASE("a round goes on after the sender returned, without the pages that are in place",
          "[wire]") {
    RunningRound round;
    Receiver& receiver = round.receiver;
    RawSender& sender = round.sender;
    const std::string cut_off = normal_packet(1, {4, 4}).to_bytes();
    sender.channel(0).send(zero_packet(0, {0, 4}).to_bytes() + cut_off.substr(0, 5000));
    // The receiver has read what came before the end.
    sender.channel(0).close();
    sender.main().close();
    REQUIRE(receiver->await_text("the main channel was lost"));

    RawSocket main = return_to(receiver.port(), {.session = sender.session(), .epoch = 1});
    const transport::Resumed here = take_answer(main);
    CHECK(here.round == 1);
    CHECK_FALSE(here.complete);
    CHECK(here.channels == 1);
    CHECK_FALSE(here.load);

    // A channel of the old epoch is closed, and leaves its id to another one.
    RawSocket late = RawSocket::connect(receiver.port());
    late.send(data_hello(sender.session(), 1));
    transport::ConnectionHello hello{.role = transport::ConnectionRole::kData,
                                     .channel = ChannelId{1},
                                     .epoch = 1,
                                     .session = sender.session()};
    RawSocket channel = RawSocket::connect(receiver.port());
    channel.send(text_of_bytes(transport::encode_hello(hello)));
    main.send(frame_of(FrameType::kAddChannels,
                       transport::encode(transport::ChannelCount{.channels = 2, .lost = {0}})));
    REQUIRE(main.await_frame(FrameType::kChannelsAdded));
    CHECK(late.is_closed_silently());
    channel.send(zero_packet(0, {8, 8}).to_bytes() + sync_packet(1));
    main.send(
        frame_of(FrameType::kRoundEnd, transport::encode(transport::RoundMark{1, kPages, {0}})));
    const auto arrived = main.await_frame(FrameType::kRoundArrived);
    REQUIRE(arrived);
    const auto pages =
        must(transport::decode_arrived(arrived->body, make_offer(1, kPages).regions));
    const auto broken = main.await_frame(FrameType::kRoundBroken);
    REQUIRE(broken);
    const auto lost = must(transport::decode_round_break(broken->body)).lost;
    REQUIRE(lost.size() == 1);
    CHECK(lost[0].channel == 0);
    // The receiver has the pages that it read before it ended the channel, but never those of the
    // packet that was cut off.
    const std::uint64_t came = lost[0].pages.zero;
    CHECK(lost[0].pages == transport::PageCounts{0, came, 0});
    std::vector<PageRange> in_place{{8, 8}};
    if (came != 0) in_place.insert(in_place.begin(), {0, came});
    CHECK(pages.pages == in_place);
    main.send(
        frame_of(FrameType::kRoundAgain, transport::encode(transport::RoundMark{1, 8 - came})));
    channel.send(normal_packet(2, {4, 4}).to_bytes());
    if (came == 0) channel.send(zero_packet(3, {0, 4}).to_bytes());
    channel.send(sync_packet(came == 0 ? 4 : 3));
    main.send(round_end() + completion({4, 12, 0}));
    // DONE gets lost: the sender returns, and asks for it again.
    REQUIRE(main.await_frame(FrameType::kDone));
    main.close();
    main = return_to(receiver.port(), {.session = sender.session(), .epoch = 2});
    const transport::Resumed at_end = take_answer(main);
    CHECK(at_end.complete);
    CHECK_FALSE(at_end.handed_over);
    main.send(completion({4, 12, 0}));
    REQUIRE(main.await_frame(FrameType::kDone));
    main.send(frame_of(FrameType::kDoneAck, "{}"));
    const int code = receiver->wait();
    INFO(receiver->both());
    CHECK(code == 0);
}

TEST_CASE("a receiver that was restarted refuses a sender that returns", "[wire][hostile]") {
    Receiver receiver({"--sink", "anon:"});
    CHECK_THAT(reason_to_refuse(return_to(receiver.port(), {.epoch = 1})),
               Contains("the receiver does not know this session: it was restarted"));
    RawSocket stray = RawSocket::connect(receiver.port());
    stray.send(
        text_of_bytes(transport::encode_hello({.role = transport::ConnectionRole::kResume})) +
        round_start());
    CHECK(stray.is_closed_silently());
    receiver->signal(SIGINT);
    CHECK(receiver->wait() == 4);
}

TEST_CASE("without reconnect-timeout a receiver does not wait for its sender", "[wire]") {
    Receiver receiver({"--sink", "anon:"});
    RawSender sender(receiver.port(), make_offer(1, kPages));
    sender.connect_channels();
    sender.main().send(round_start());
    sender.main().close();
    CHECK(receiver->wait() == 1);
}

}  // namespace
}  // namespace migrate::e2e
