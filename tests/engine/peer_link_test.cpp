#include "engine/peer_link.hpp"

#include "catch.hpp"
#include "tests/base/long_wait.hpp"
#include "tests/transport/tcp_pair.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {
namespace {

using std::chrono::milliseconds;
using transport::ControlChannel;
using transport::Frame;
using transport::FrameType;

// A link, and the other end of its connection in the test's hands.
struct Linked {
    explicit Linked(milliseconds io_timeout = kLong) {
        auto [near, far] = transport::make_socket_pair();
        peer = must(ControlChannel::create(std::move(far)));
        link.emplace(must(ControlChannel::create(std::move(near))), io_timeout, "link", times,
                     cancellation);
    }
    Result<Frame> expect(std::initializer_list<FrameType> types) {
        return link->expect(types, kLong);
    }
    // The peer's next frame that is no heartbeat; nothing when the link closed.
    std::optional<Frame> peer_hears() {
        while (true) {
            auto frame = peer->receive(kLong);
            if (!frame) return std::nullopt;
            if (*frame && (*frame)->type != FrameType::kHeartbeat) return **std::move(frame);
        }
    }

    ThreadTimes times;
    Cancellation cancellation;
    std::unique_ptr<ControlChannel> peer;
    std::optional<PeerLink> link;
};

std::string failure(const char* reason, bool cancelled = false) {
    return transport::encode(transport::Failure{cancelled, reason});
}

TEST_CASE("frames arrive in order, heartbeats do not") {
    Linked both;
    must(both.peer->send(FrameType::kHeartbeat, ""));
    must(both.peer->send(FrameType::kAccept, "1"));
    must(both.peer->send(FrameType::kHeartbeat, ""));
    must(both.peer->send(FrameType::kReady, "2"));
    CHECK(must(both.expect({FrameType::kAccept})).body == "1");
    CHECK(must(both.expect({FrameType::kDone, FrameType::kReady})).body == "2");
    both.link.reset();
    CHECK_FALSE(both.cancellation.error());
}

TEST_CASE("a frame of another type than expected is a protocol error") {
    Linked both;
    must(both.peer->send(FrameType::kReady, ""));
    const auto frame = both.expect({FrameType::kAccept});
    REQUIRE_FALSE(frame);
    CHECK(frame.error().kind() == ErrorKind::kProtocol);
    CHECK(frame.error().message().find("READY") != std::string::npos);
}

TEST_CASE("a frame that does not come in time is a timeout") {
    Linked both;
    const auto frame = both.link->expect({FrameType::kAccept}, milliseconds(1));
    REQUIRE_FALSE(frame);
    CHECK(frame.error().kind() == ErrorKind::kTimeout);
    CHECK(frame.error().message().find("ACCEPT") != std::string::npos);
}

TEST_CASE("a link sends heartbeats, and none after its last frame") {
    Linked both(milliseconds(400));
    both.link->stop_expecting_heartbeats();
    const auto frame = both.peer->receive(kLong);
    CHECK(must(frame)->type == FrameType::kHeartbeat);
    both.link->stop_sending_heartbeats();
    must(both.link->send(FrameType::kDone, "last"));
    CHECK(both.peer_hears()->body == "last");
}

TEST_CASE("a silent peer is given up, and told so") {
    Linked both(milliseconds(40));
    const auto frame = both.link->expect({FrameType::kAccept}, std::nullopt);
    REQUIRE_FALSE(frame);
    CHECK(frame.error().kind() == ErrorKind::kTimeout);
    CHECK(frame.error().message().find("silent") != std::string::npos);
    const auto heard = both.peer_hears();
    REQUIRE(heard);
    CHECK(heard->type == FrameType::kFailure);
}

TEST_CASE("the peer's failure, refusal or cancellation is the session's error") {
    const auto check = [](FrameType type, const std::string& body, ErrorKind kind,
                          const char* part) {
        Linked both;
        must(both.peer->send(type, body));
        const auto frame = both.expect({FrameType::kAccept});
        REQUIRE_FALSE(frame);
        CHECK(frame.error().kind() == kind);
        CHECK(frame.error().message().find(part) != std::string::npos);
        both.link.reset();
        // It knows already.
        CHECK_FALSE(both.peer_hears());
    };
    check(FrameType::kFailure, failure("disk full"), ErrorKind::kPeer, "disk full");
    check(FrameType::kFailure, failure("Ctrl-C", true), ErrorKind::kCancelled, "Ctrl-C");
    check(FrameType::kRefuse, failure("busy"), ErrorKind::kPeer, "refused: busy");
    check(FrameType::kFailure, "not JSON", ErrorKind::kPeer, "no reason");
}

TEST_CASE("a failure here is told to the peer") {
    Linked both;
    both.cancellation.fail(Error(ErrorKind::kCancelled, "Ctrl-C"));
    const auto heard = both.peer_hears();
    REQUIRE(heard);
    CHECK(heard->type == FrameType::kFailure);
    const transport::Failure told = transport::decode_failure(heard->body);
    CHECK(told.cancelled);
    CHECK(told.reason == "Ctrl-C");
}

TEST_CASE("the peer's reason wins over the data channel it broke") {
    Linked both;
    both.cancellation.fail_lost_connection(Error(ErrorKind::kLostConnection, "channel 3 closed"));
    // The session does not wait for the reason: a guest that stands still runs again first.
    const auto frame = both.expect({FrameType::kDone});
    REQUIRE_FALSE(frame);
    CHECK(frame.error().kind() == ErrorKind::kLostConnection);
    must(both.peer->send(FrameType::kFailure, failure("disk full")));
    both.link->finish();
    REQUIRE(both.cancellation.error());
    CHECK(both.cancellation.error()->message().find("disk full") != std::string::npos);
}

TEST_CASE("a broken data channel without a reason is the error itself") {
    Linked both;
    both.cancellation.fail_lost_connection(Error(ErrorKind::kLostConnection, "channel 3 closed"));
    both.peer.reset();
    const auto frame = both.expect({FrameType::kDone});
    REQUIRE_FALSE(frame);
    CHECK(frame.error().kind() == ErrorKind::kLostConnection);
    both.link->finish();
    REQUIRE(both.cancellation.error());
    CHECK(both.cancellation.error()->message() == "channel 3 closed");
}

TEST_CASE("the peer's word on the guest is true, false or missing") {
    const auto word = [](std::optional<bool> said) {
        Linked both;
        must(both.peer->send(FrameType::kFailure,
                             transport::encode(transport::Failure{false, "x", said})));
        CHECK_FALSE(both.expect({FrameType::kDone}));
        return both.link->peer_runs_guest();
    };
    CHECK(word(true) == true);
    CHECK(word(false) == false);
    CHECK(word(std::nullopt) == std::nullopt);
}

TEST_CASE("a peer that closes the main channel is lost; after DONE it may") {
    {
        Linked both;
        both.peer.reset();
        const auto frame = both.expect({FrameType::kDone});
        REQUIRE_FALSE(frame);
        CHECK(frame.error().kind() == ErrorKind::kLostConnection);
    }
    Linked both;
    must(both.peer->send(FrameType::kDone, "{}"));
    both.peer.reset();
    CHECK(must(both.expect({FrameType::kDone})).body == "{}");
    both.link.reset();
    CHECK_FALSE(both.cancellation.error());
}

TEST_CASE("a flood of frames nobody asked for ends the session") {
    Linked both;
    for (int i = 0; i < 20 && both.peer->send(FrameType::kReady, ""); ++i) {
    }
    const auto heard = both.peer_hears();
    REQUIRE(heard);
    CHECK(heard->type == FrameType::kFailure);
    both.link.reset();
    REQUIRE(both.cancellation.error());
    CHECK(both.cancellation.error()->kind() == ErrorKind::kProtocol);
}

TEST_CASE("garbage on the main channel ends the session") {
    Linked both;
    must(both.peer->send_raw(std::as_bytes(std::span("not a frame at all"))));
    const auto frame = both.expect({FrameType::kAccept});
    REQUIRE_FALSE(frame);
    CHECK(frame.error().kind() == ErrorKind::kProtocol);
}

TEST_CASE("a link may be finished twice, and made for a session that failed already") {
    Linked both;
    both.link->finish();
    both.link->finish();
    auto [near, far] = transport::make_socket_pair();
    ThreadTimes times;
    Cancellation cancellation;
    cancellation.fail(Error("too late"));
    far.shutdown();
    const PeerLink late(must(ControlChannel::create(std::move(near))), kLong, "late", times,
                        cancellation);
}

}  // namespace
}  // namespace migrate::engine
