// SPDX-License-Identifier: Apache-2.0
#include "transport/control_channel.hpp"

#include <thread>

#include "catch.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/tcp_pair.hpp"

namespace migrate::transport {
namespace {

using std::chrono::milliseconds;

struct ChannelPair {
    std::unique_ptr<ControlChannel> near;
    std::unique_ptr<ControlChannel> far;
};

ChannelPair make_channel_pair() {
    auto [near, far] = make_socket_pair();
    return {must(ControlChannel::create(std::move(near))),
            must(ControlChannel::create(std::move(far)))};
}

TEST_CASE("frames go both ways and are counted") {
    const auto [near, far] = make_channel_pair();
    must(near->send(FrameType::kOffer, "offer"));
    must(near->send(FrameType::kHeartbeat, ""));
    must(far->send(FrameType::kAccept, std::string(kMaxFrameBody, 'a')));
    CHECK(must(far->receive(kLong))->body == "offer");
    CHECK(must(far->receive(kLong))->type == FrameType::kHeartbeat);
    CHECK(must(near->receive(kLong))->body.size() == kMaxFrameBody);
    CHECK(near->bytes_sent() == 2 * kFrameHeaderSize + 5);
    CHECK(far->bytes_received() == near->bytes_sent());
    CHECK(near->bytes_received() == far->bytes_sent());
}

TEST_CASE("a frame that came already is taken without waiting; no frame is nothing") {
    const auto [near, far] = make_channel_pair();
    CHECK_FALSE(must(far->receive(milliseconds(0))));
    must(near->send(FrameType::kReady, "{}"));
    must(near->send(FrameType::kDone, "{}"));
    CHECK(must(far->receive(kLong)));
    CHECK(must(far->receive(kLong)));
    CHECK_FALSE(must(far->receive(milliseconds(1))));
}

TEST_CASE("wake ends the receive under way, or the next one") {
    const auto [near, far] = make_channel_pair();
    far->wake();
    CHECK_FALSE(must(far->receive(kLong)));
    bool nothing = false;
    std::jthread waiter([&, &channel = far] {
        const auto frame = channel->receive(kLong);
        nothing = frame && !*frame;
    });
    far->wake();
    waiter.join();
    CHECK(nothing);
    must(near->send(FrameType::kReady, ""));
    CHECK(must(far->receive(kLong)));
}

TEST_CASE("frames of many threads do not mix") {
    const auto [near, far] = make_channel_pair();
    std::vector<std::jthread> senders;
    for (int i = 0; i < 4; ++i) {
        senders.emplace_back([&channel = near, i] {
            const std::string body(static_cast<std::size_t>(1000 + i), static_cast<char>('a' + i));
            for (int k = 0; k < 50; ++k) static_cast<void>(channel->send(FrameType::kReady, body));
        });
    }
    for (int k = 0; k < 200; ++k) {
        const auto frame = must(far->receive(kLong));
        REQUIRE(frame);
        const auto i = static_cast<std::size_t>(frame->body.at(0) - 'a');
        REQUIRE(frame->body == std::string(1000 + i, static_cast<char>('a' + i)));
    }
}

TEST_CASE("the last frame is read although its sender closes at once and never read") {
    auto [near, far] = make_channel_pair();
    must(far->send(FrameType::kReady, "unread"));
    Status sent;
    std::jthread closer([&sent, channel = std::move(near)]() mutable {
        sent = channel->send_last(FrameType::kFailure, "why", kLong);
        channel.reset();
    });
    const auto frame = must(far->receive(kLong));
    REQUIRE(frame);
    CHECK(frame->type == FrameType::kFailure);
    CHECK(frame->body == "why");
    const auto after = far->receive(kLong);
    REQUIRE_FALSE(after);
    CHECK(after.error().kind() == ErrorKind::kLostConnection);
    far.reset();
    closer.join();
    must(sent);
}

TEST_CASE("garbage on the main channel is a protocol error, its end a lost connection") {
    auto [near, far] = make_channel_pair();
    must(near->send_raw(std::as_bytes(std::span("GET / HTTP/1.1\r\n"))));
    const auto garbage = far->receive(kLong);
    REQUIRE_FALSE(garbage);
    CHECK(garbage.error().kind() == ErrorKind::kProtocol);

    auto [left, right] = make_channel_pair();
    left.reset();
    const auto closed = right->receive(kLong);
    REQUIRE_FALSE(closed);
    CHECK(closed.error().kind() == ErrorKind::kLostConnection);
}

}  // namespace
}  // namespace migrate::transport
