// SPDX-License-Identifier: Apache-2.0
#include "engine/peer_link.hpp"

#include <atomic>
#include <thread>

#include "base/outcome.hpp"
#include "base/thread.hpp"
#include "catch.hpp"
#include "tests/engine/linked.hpp"
#include "tests/support/tcp_pair.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {
namespace {

using std::chrono::milliseconds;
using transport::ControlChannel;
using transport::Frame;
using transport::FrameType;

std::string failure(const char* reason, bool cancelled = false, const char* outcome = "") {
    return transport::encode(transport::Failure{cancelled, reason, false, outcome});
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

// A link that keeps to the sequence, and the other end in the test's hands.
struct Ordered {
    // A guest's session, or an image's with DONE_ACK.
    explicit Ordered(transport::Party party,
                     transport::LastFrame last = transport::LastFrame::kDone)
        : other(transport::other(party)) {
        auto [near, far] = transport::make_socket_pair();
        peer = must(ControlChannel::create(std::move(far)));
        transport::Sequence sequence;
        must(sequence.pass(transport::Party::kSender, FrameType::kOffer));
        must(sequence.pass(transport::Party::kReceiver, FrameType::kAccept));
        link = must(PeerLink::create(
            must(ControlChannel::create(std::move(near))),
            {.name = "link", .io_timeout = kLong, .party = party, .sequence = sequence}, times,
            cancellation));
        const bool guest = last == transport::LastFrame::kDone;
        link->agree(make_link_times(kLong, std::nullopt),
                    guest ? transport::SessionKind::kGuest : transport::SessionKind::kImage, last);
    }

    transport::Party other;
    ThreadTimes times;
    Cancellation cancellation;
    std::unique_ptr<ControlChannel> peer;
    std::unique_ptr<PeerLink> link;
};

TEST_CASE("a link takes no frame out of sequence, and says which had to come") {
    const auto hostile = [](const std::vector<FrameType>& before, FrameType frame) {
        Ordered receiver(transport::Party::kReceiver);
        must(receiver.link->send(FrameType::kReady, "{}"));
        for (const FrameType type : before) {
            must(receiver.peer->send(type, "{}"));
            must(receiver.link->next());
        }
        must(receiver.peer->send(frame, "{}"));
        return message_of(receiver.link->next());
    };
    using enum FrameType;
    CHECK(hostile({}, kComplete) ==
          "expected ROUND_START or SWITCHOVER_START or PAGE_DIGESTS from the sender, got COMPLETE");
    CHECK(hostile({}, kHandover) ==
          "expected ROUND_START or SWITCHOVER_START or PAGE_DIGESTS from the sender, got HANDOVER");
    CHECK(hostile({kRoundStart}, kRoundStart) ==
          "expected ROUND_END or ADD_CHANNELS from the sender, got ROUND_START");
    CHECK(hostile({kSwitchoverStart}, kDeviceState) ==
          "expected ROUND_START from the sender, got DEVICE_STATE");
    // This receiver has not confirmed the round, and did not load the guest.
    CHECK(hostile({kRoundStart, kRoundEnd}, kSwitchoverStart) ==
          "expected no frame from the sender, got SWITCHOVER_START");
    CHECK(hostile({kSwitchoverStart, kRoundStart, kRoundEnd, kComplete}, kHandover) ==
          "expected no frame from the sender, got HANDOVER");

    Ordered sender(transport::Party::kSender);
    must(sender.peer->send(kLoaded, "{}"));
    CHECK(message_of(sender.link->expect({kLoaded}, kLong)) ==
          "expected READY from the receiver, got LOADED");
}

TEST_CASE("a link sends no frame out of sequence itself") {
    Ordered sender(transport::Party::kSender);
    const Status status = sender.link->send(FrameType::kHandover, "{}");
    REQUIRE_FALSE(status);
    CHECK(status.error().kind() == ErrorKind::kProtocol);
}

TEST_CASE("a link ends and another takes its place, and the session goes on") {
    ThreadTimes times;
    Cancellation session;
    for (int epoch = 0; epoch < 2; ++epoch) {
        auto [near, far] = transport::make_socket_pair();
        const auto peer = must(ControlChannel::create(std::move(far)));
        auto link = must(PeerLink::create(must(ControlChannel::create(std::move(near))),
                                          {.name = "link", .io_timeout = kLong}, times, session));
        must(peer->send(FrameType::kReady, "{}"));
        CHECK(must(link->expect({FrameType::kReady}, kLong)).type == FrameType::kReady);
        link.reset();
        // The peer hears that the connection ended, and of no failure.
        const auto heard = peer->receive(kLong);
        REQUIRE_FALSE(heard);
        CHECK(heard.error().kind() == ErrorKind::kLostConnection);
        CHECK_FALSE(session.stopped());
    }
    CHECK(times.all().size() == 2);
}

TEST_CASE("a link that survives the loss of its connection goes on with another one") {
    Ordered receiver(transport::Party::kReceiver);
    std::atomic<int> losses{0};
    receiver.link->survive_loss([&] { ++losses; });
    must(receiver.link->send(FrameType::kReady, "{}"));
    const std::uint64_t sent = receiver.link->bytes_sent();
    receiver.peer.reset();
    const auto frame = receiver.link->next();
    REQUIRE_FALSE(frame);
    CHECK(frame.error().kind() == ErrorKind::kLostConnection);
    CHECK(receiver.link->lost());
    CHECK_FALSE(receiver.link->loss_reason().empty());
    CHECK_FALSE(receiver.link->send(FrameType::kPagesReused, "{}"));
    CHECK(losses == 1);
    CHECK_FALSE(receiver.cancellation.stopped());

    auto [near, far] = transport::make_socket_pair();
    receiver.peer = must(ControlChannel::create(std::move(far)));
    must(receiver.link->resume(must(ControlChannel::create(std::move(near)))));
    CHECK_FALSE(receiver.link->lost());
    must(receiver.link->send(FrameType::kResumed, "{}"));
    receiver.link->resumed_in(2, false);
    CHECK(receiver.link->bytes_sent() > sent);
    must(receiver.peer->send(FrameType::kRoundEnd, "{}"));
    CHECK(must(receiver.link->next()).type == FrameType::kRoundEnd);

    must(receiver.link->fail_on_loss());
    receiver.peer.reset();
    CHECK_FALSE(receiver.link->next());
    CHECK(losses == 1);
    CHECK(receiver.cancellation.stopped());
}

TEST_CASE("a link that survives a loss finds it when it sends, and drops a silent connection") {
    for (const bool drops : {false, true}) {
        Ordered receiver(transport::Party::kReceiver);
        receiver.link->survive_loss([] {});
        if (drops) {
            receiver.link->drop();
        } else {
            receiver.peer.reset();
            // The first of them may find room in the socket.
            static_cast<void>(receiver.link->send(FrameType::kReady, "{}"));
            CHECK_FALSE(receiver.link->next());
        }
        CHECK(receiver.link->lost());
        CHECK_FALSE(receiver.cancellation.stopped());
        const Status lost = receiver.link->fail_on_loss();
        REQUIRE_FALSE(lost);
        CHECK(lost.error().kind() == ErrorKind::kLostConnection);
    }
}

TEST_CASE("a peer that says why it ends is no lost connection") {
    Ordered receiver(transport::Party::kReceiver);
    receiver.link->survive_loss([] {});
    must(receiver.peer->send(FrameType::kFailure, failure("the disk is full")));
    receiver.peer.reset();
    const auto frame = receiver.link->next();
    REQUIRE_FALSE(frame);
    CHECK(frame.error().kind() == ErrorKind::kPeer);
    CHECK_FALSE(receiver.link->lost());
    CHECK(receiver.cancellation.stopped());
}

TEST_CASE("a frame that does not come in time is a timeout") {
    Linked both;
    const auto frame = both.link->expect({FrameType::kAccept}, milliseconds(1));
    REQUIRE_FALSE(frame);
    CHECK(frame.error().kind() == ErrorKind::kTimeout);
    CHECK(frame.error().message().find("ACCEPT") != std::string::npos);
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
    check(FrameType::kRefuse, failure("busy"), ErrorKind::kRefused, "the receiver refused: busy");
    check(FrameType::kRefuse, failure("busy", false, "failed"), ErrorKind::kRefused, "busy");
    check(FrameType::kFailure, "not JSON", ErrorKind::kPeer, "no reason");
    const auto check_word = [&](const char* word, ErrorKind kind, const char* part) {
        INFO(word);
        check(FrameType::kFailure, failure("why", false, word), kind, part);
    };
    check_word("failed", ErrorKind::kPeer, "the peer failed: why");
    check_word("refused", ErrorKind::kRefused, "the peer refused: why");
    check_word("cancelled", ErrorKind::kCancelled, "cancelled by the peer: why");
    check_word("not-converged", ErrorKind::kNotConverged, "the peer gave up: why");
    // Only this side can know the first; the next two name no failure; the last is unknown here.
    for (const char* word : {"owner-unknown", "completed", "usage", "of-tomorrow"}) {
        check_word(word, ErrorKind::kPeer, "the peer failed: why");
    }
}

TEST_CASE("the peer is told the outcome's word, which may depend on how far the session is") {
    const auto told = [](const Error& error, std::function<Error(Error)> settled) {
        auto [near, far] = transport::make_socket_pair();
        const auto peer = must(ControlChannel::create(std::move(far)));
        ThreadTimes times;
        Cancellation cancellation;
        const auto link = must(
            PeerLink::create(must(ControlChannel::create(std::move(near))),
                             {.name = "link", .io_timeout = kLong, .settled = std::move(settled)},
                             times, cancellation));
        cancellation.fail(error);
        const auto frame = must(peer->receive(kLong));
        REQUIRE(frame);
        return transport::decode_failure(frame->body);
    };
    CHECK(told(Error("full"), {}).outcome == "failed");
    CHECK(told(Error(ErrorKind::kNotConverged, "slow"), {}).outcome == "not-converged");
    const auto refuses = [](Error error) { return settled(std::move(error), Stage::kBeforePages); };
    CHECK(told(Error("full"), refuses).outcome == "refused");
    const transport::Failure cancelled = told(Error(ErrorKind::kCancelled, "Ctrl-C"), refuses);
    CHECK(cancelled.outcome == "cancelled");
    CHECK(cancelled.cancelled);
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

TEST_CASE("a failure here is told to a peer that has ended its own direction because of it") {
    // Which of the two the link finds first is up to the threads.
    for (int i = 0; i < 100; ++i) {
        Linked both;
        both.cancellation.fail(Error("device bad failed"));
        both.peer->finish_sending();
        const auto heard = both.peer_hears();
        REQUIRE(heard);
        REQUIRE(heard->type == FrameType::kFailure);
        REQUIRE(transport::decode_failure(heard->body).reason == "device bad failed");
    }
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

TEST_CASE("the peer's reason wins even if it comes in the moment in which this side ends") {
    // The moment is short, hence the repetitions.
    for (int i = 0; i < 300; ++i) {
        Linked both;
        Thread peer = must(Thread::start(
            "peer",
            [&both](const std::stop_token&) {
                return both.peer->send(FrameType::kFailure, failure("no space"));
            },
            [](const Error&) {}));
        both.cancellation.fail_lost_connection(
            Error(ErrorKind::kLostConnection, "channel 3 closed"));
        both.link->finish();
        peer.join();
        const auto error = both.cancellation.error();
        REQUIRE(error);
        REQUIRE(error->message() == "the peer failed: no space");
    }
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

TEST_CASE("guest-runs is true, false or absent") {
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

TEST_CASE("a receiver that refuses says nothing about the guest, whatever its frame has") {
    Linked both;
    must(both.peer->send(FrameType::kRefuse,
                         transport::encode(transport::Failure{false, "restarted", false})));
    const auto frame = both.expect({FrameType::kDone});
    REQUIRE_FALSE(frame);
    CHECK(frame.error().kind() == ErrorKind::kRefused);
    CHECK(both.link->peer_runs_guest() == std::nullopt);
}

TEST_CASE("a receiver that waits for DONE_ACK survives the loss of DONE, and ends with it") {
    Ordered receiver(transport::Party::kReceiver, transport::LastFrame::kDoneAck);
    receiver.link->survive_loss([] {});
    must(receiver.link->send(FrameType::kReady, "{}"));
    for (const FrameType frame :
         {FrameType::kRoundStart, FrameType::kRoundEnd, FrameType::kComplete}) {
        must(receiver.peer->send(frame, "{}"));
        CHECK(must(receiver.link->next()).type == frame);
    }
    must(receiver.link->send(FrameType::kDone, "{}"));
    receiver.peer.reset();
    CHECK_FALSE(receiver.link->expect_within({FrameType::kDoneAck}, kLong));
    CHECK(receiver.link->lost());
    CHECK_FALSE(receiver.cancellation.stopped());

    auto [near, far] = transport::make_socket_pair();
    receiver.peer = must(ControlChannel::create(std::move(far)));
    must(receiver.link->resume(must(ControlChannel::create(std::move(near)))));
    must(receiver.link->send(FrameType::kResumed, "{}"));
    receiver.link->resumed_in(1, true);
    must(receiver.peer->send(FrameType::kComplete, "{}"));
    CHECK(must(receiver.link->next()).type == FrameType::kComplete);
    must(receiver.link->send(FrameType::kDone, "{}"));
    must(receiver.peer->send(FrameType::kDoneAck, "{}"));
    CHECK(must(receiver.link->expect_within({FrameType::kDoneAck}, kLong)).has_value());
    receiver.peer.reset();
    receiver.link->finish();
    CHECK_FALSE(receiver.link->lost());
    CHECK_FALSE(receiver.cancellation.error());
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

TEST_CASE("a flood of unrequested frames ends the session") {
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
    const auto late =
        must(PeerLink::create(must(ControlChannel::create(std::move(near))),
                              {.name = "late", .io_timeout = kLong}, times, cancellation));
}

TEST_CASE("a link whose thread cannot be started tells the peer why, on its own thread") {
    const ThreadStartHook refuse([](std::string_view) { return EAGAIN; });
    auto [near, far] = transport::make_socket_pair();
    const auto peer = must(ControlChannel::create(std::move(far)));
    ThreadTimes times;
    Cancellation cancellation;
    // The peer hears the reason while the other side lingers.
    std::jthread hearing([&] {
        const auto frame = peer->receive(kLong);
        peer->shutdown();
        if (!frame || !*frame) return;
        CHECK(transport::decode_failure((*frame)->body).reason.find("link") != std::string::npos);
    });
    const auto link = PeerLink::create(must(ControlChannel::create(std::move(near))),
                                       {.name = "link", .io_timeout = kLong}, times, cancellation);
    REQUIRE_FALSE(link);
    CHECK(link.error().message().find("cannot start thread link: ") == 0);
}

}  // namespace
}  // namespace migrate::engine
