// SPDX-License-Identifier: Apache-2.0
#include <poll.h>

#include <atomic>
#include <thread>

#include "catch.hpp"
#include "engine/peer_link.hpp"
#include "engine/presence.hpp"
#include "tests/engine/linked.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {
namespace {

using std::chrono::milliseconds;
using transport::ControlChannel;
using transport::FrameType;

TEST_CASE("a link sends heartbeats, and none after its last frame") {
    Linked both(milliseconds(400));
    both.link->stop_expecting_heartbeats();
    const auto frame = both.peer->receive(kLong);
    CHECK(must(frame)->type == FrameType::kHeartbeat);
    both.link->stop_sending_heartbeats();
    must(both.link->send(FrameType::kDone, "last"));
    CHECK(both.peer_hears()->body == "last");
}

TEST_CASE("a silent peer fails the session and gets FAILURE") {
    Linked both(milliseconds(40));
    const auto frame = both.link->expect({FrameType::kAccept}, std::nullopt);
    REQUIRE_FALSE(frame);
    CHECK(frame.error().kind() == ErrorKind::kTimeout);
    CHECK(frame.error().message().find("silent") != std::string::npos);
    const auto heard = both.peer_hears();
    REQUIRE(heard);
    CHECK(heard->type == FrameType::kFailure);
}

// Returns the number of heartbeats that arrive within `time`.
int heartbeats_within(ControlChannel& peer, milliseconds time) {
    const auto until = std::chrono::steady_clock::now() + time;
    int beats = 0;
    while (true) {
        const auto left = std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now());
        if (left.count() <= 0) return beats;
        const auto frame = must(peer.receive(left));
        if (frame && frame->type == FrameType::kHeartbeat) ++beats;
    }
}

TEST_CASE("heartbeats follow the smaller io-timeout of the two, channels the longer one") {
    const auto own = GENERATE(milliseconds(100), milliseconds(1000), milliseconds(30'000));
    const auto peer = GENERATE(milliseconds(100), milliseconds(1000), milliseconds(30'000));
    const LinkTimes times = make_link_times(own, peer);
    const milliseconds smaller = std::min(own, peer);
    CHECK(times.heartbeat >= milliseconds(25));
    CHECK(times.heartbeat <= smaller / 4);
    CHECK(times.heartbeat <= milliseconds(1000));
    CHECK(times.data.silent >= std::max(own, peer));
    CHECK(times.data.busy >= std::max(times.data.silent, milliseconds(10'000)));
}

TEST_CASE("link times stay within bounds whatever the peer says of itself") {
    for (const milliseconds peer : {milliseconds(1), milliseconds(86'400'000)}) {
        const LinkTimes times = make_link_times(milliseconds(1000), peer);
        CHECK(times.heartbeat >= milliseconds(25));
        CHECK(times.heartbeat <= milliseconds(250));
        CHECK(times.data.busy <= milliseconds(300'000));
    }
    // One that says nothing expects what it always did.
    const LinkTimes old = make_link_times(milliseconds(400), std::nullopt);
    CHECK(old.heartbeat == milliseconds(100));
    CHECK(old.data.silent == milliseconds(400));
    CHECK(old.data.busy == milliseconds(400));
}

TEST_CASE("a link with a long io-timeout beats in time for a peer with a short one") {
    Linked both(milliseconds(30'000));
    both.link->agree(make_link_times(milliseconds(30'000), milliseconds(100)));
    // Without the peer's timeout it would be one a second.
    CHECK(heartbeats_within(*both.peer, milliseconds(1000)) >= 10);
}

TEST_CASE("a peer that prepares is not judged before the two have agreed") {
    auto [near, far] = transport::make_socket_pair();
    const auto peer = must(ControlChannel::create(std::move(far)));
    ThreadTimes times;
    Cancellation cancellation;
    const auto link = must(PeerLink::create(must(ControlChannel::create(std::move(near))),
                                            {.name = "link", .io_timeout = milliseconds(40)}, times,
                                            cancellation));
    // Ten of its own timeouts.
    const auto accepted = link->expect({FrameType::kAccept}, milliseconds(400));
    REQUIRE_FALSE(accepted);
    CHECK(accepted.error().message().find("handshake-timeout") != std::string::npos);
    CHECK_FALSE(cancellation.stopped());
    link->agree(make_link_times(milliseconds(40), milliseconds(40)));
    const auto judged = link->expect({FrameType::kAccept}, std::nullopt);
    REQUIRE_FALSE(judged);
    CHECK(judged.error().message().find("silent for 40 ms (io-timeout)") != std::string::npos);
}

TEST_CASE("no heartbeat is expected after the peer's last frame") {
    auto [near, far] = transport::make_socket_pair();
    const auto peer = must(ControlChannel::create(std::move(far)));
    ThreadTimes times;
    Cancellation cancellation;
    const auto link = must(PeerLink::create(
        must(ControlChannel::create(std::move(near))),
        {.name = "link", .io_timeout = milliseconds(40), .last_of_peer = FrameType::kComplete},
        times, cancellation));
    must(peer->send(FrameType::kComplete, "{}"));
    link->agree(make_link_times(milliseconds(40), milliseconds(40)));
    // The frame stays in the queue: whoever would take it is busy with the round before it.
    CHECK(heartbeats_within(*peer, milliseconds(400)) > 0);
    CHECK_FALSE(cancellation.stopped());
    CHECK(must(link->expect({FrameType::kComplete}, kLong)).body == "{}");
}

TEST_CASE("heartbeats end, and the peer is told, when the thread of the session is gone") {
    Linked both(milliseconds(100));
    both.link->stop_expecting_heartbeats();
    {
        const Presence left_unsettled(both.cancellation);
        CHECK(heartbeats_within(*both.peer, milliseconds(300)) > 0);
    }
    const auto heard = both.peer_hears();
    REQUIRE(heard);
    CHECK(heard->type == FrameType::kFailure);
    CHECK(transport::decode_failure(heard->body).reason ==
          "the thread that runs the session left it unsettled");
    // Nothing comes after it, and the connection ends.
    CHECK_FALSE(both.peer_hears());
}

TEST_CASE("a send that finds no room waits while the peer is heard, and ends with the session") {
    Linked both(milliseconds(200));
    std::atomic<bool> sent = false;
    Status status;
    std::jthread sending([&] {
        const std::string body(100'000, 'x');
        // More than the socket's buffers hold.
        for (int i = 0; i < 400 && status; ++i) {
            status = both.link->send(FrameType::kDeviceState, body);
        }
        sent = true;
    });
    // The peer takes nothing for five timeouts, but is alive.
    const auto until = std::chrono::steady_clock::now() + milliseconds(1000);
    while (std::chrono::steady_clock::now() < until) {
        must(both.peer->send(FrameType::kHeartbeat, ""));
        ::poll(nullptr, 0, 20);
    }
    CHECK_FALSE(sent);
    CHECK_FALSE(both.cancellation.stopped());
    SECTION("the peer reads on") {
        std::size_t frames = 0;
        while (frames < 400) {
            const auto frame = must(both.peer->receive(milliseconds(50)));
            if (frame && frame->type == FrameType::kDeviceState) ++frames;
            must(both.peer->send(FrameType::kHeartbeat, ""));
        }
        sending.join();
        CHECK(status);
    }
    SECTION("the session is cancelled") {
        both.cancellation.fail(Error(ErrorKind::kCancelled, "Ctrl-C"));
        sending.join();
        CHECK_FALSE(status);
    }
}

}  // namespace
}  // namespace migrate::engine
