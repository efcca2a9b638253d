// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "catch.hpp"
#include "e2e/raw_peer.hpp"
#include "e2e/transfer.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using transport::FrameType;

constexpr std::chrono::milliseconds kSilence{1000};  // check_sender_ends()'s handshake-timeout

using SenderAct = std::function<void(RawListener&, Process&)>;

// A real sender against a raw receiver: it ends with this code and says this.
void check_sender_ends(int expected, const std::string& words, const SenderAct& act,
                       const std::string& source = "anon:64M,fill=random") {
    RawListener listener;
    Process sender({"send", "--connect", listener.endpoint(), "--source", source,
                    "--handshake-timeout", "1s", "--io-timeout", "1s"});
    act(listener, sender);
    const int code = sender.wait();
    INFO(sender.both());
    CHECK(code == expected);
    CHECK_THAT(sender.err(), Contains("migrate: error:") && Contains(words));
}

// Takes the sender's hello and offer and accepts.
RawSocket accept_sender(const RawListener& listener) {
    RawSocket main = listener.accept();
    REQUIRE(main.skip(transport::kHelloSize));
    REQUIRE(main.await_frame(FrameType::kOffer));
    main.send(
        frame_of(FrameType::kAccept, transport::encode(transport::Accept{{}, "test", "null:"})));
    return main;
}

void send_heartbeats(RawSocket& main, Process& sender) {
    const auto until = std::chrono::steady_clock::now() + kDeadline;
    while (!sender.ended_within(std::chrono::milliseconds(100)) &&
           std::chrono::steady_clock::now() < until) {
        if (!main.send(frame_of(FrameType::kHeartbeat, ""))) return;
    }
}

}  // namespace

TEST_CASE("a receiver that misbehaves before it accepts fails the sender", "[hostile]") {
    check_sender_ends(1, "main channel", [](RawListener& l, Process&) { l.accept(); });
    check_sender_ends(3, "expected a control frame", [](RawListener& l, Process& sender) {
        const RawSocket main = l.accept();
        main.send(std::string(64, 'x'));
        sender.wait();
    });
    check_sender_ends(1, "-timeout", [](RawListener& l, Process& sender) {
        const RawSocket main = l.accept();
        sender.wait();
    });
    // Heartbeats without ACCEPT are of one that prepares; then it says nothing any more.
    check_sender_ends(1, "ACCEPT and was silent for 1000 ms (handshake-timeout)",
                      [](RawListener& l, Process& sender) {
                          RawSocket main = l.accept();
                          const auto until = std::chrono::steady_clock::now() + 3 * kSilence;
                          while (std::chrono::steady_clock::now() < until) {
                              CHECK_FALSE(sender.ended_within(kSilence / 10));
                              CHECK(main.send(frame_of(FrameType::kHeartbeat, "")));
                          }
                          sender.wait();
                      });
    check_sender_ends(3, "the receiver refused: no room", [](RawListener& l, Process& sender) {
        const RawSocket main = l.accept();
        main.send(
            frame_of(FrameType::kRefuse, transport::encode(transport::Failure{false, "no room"})));
        sender.wait();
    });
    // A receiver of protocol version 1 reads the version in the hello, and refuses.
    check_sender_ends(3, "the receiver speaks protocol version 1, the sender version 2",
                      [](RawListener& l, Process& sender) {
                          const RawSocket main = l.accept();
                          const std::string hello = main.read(transport::kHelloSize);
                          REQUIRE(hello.size() == transport::kHelloSize);
                          const std::string reason = fmt::format(
                              "the receiver speaks protocol version 1, the sender version {}: use "
                              "the same release of migrate on both hosts",
                              static_cast<int>(hello[4]));
                          main.send(frame_of(FrameType::kRefuse,
                                             transport::encode(transport::Failure{false, reason})));
                          sender.wait();
                      });
    check_sender_ends(3, "DONE", [](RawListener& l, Process& sender) {
        const RawSocket main = l.accept();
        main.send(frame_of(FrameType::kDone, "{}"));
        sender.wait();
    });
    check_sender_ends(3, "session", [](RawListener& l, Process& sender) {
        const RawSocket main = l.accept();
        main.send(frame_of(FrameType::kAccept, R"({"session":"xyz"})"));
        sender.wait();
    });
}

TEST_CASE("a receiver that misbehaves after it accepted fails the sender", "[hostile]") {
    check_sender_ends(3, "changed my mind", [](RawListener& l, Process& sender) {
        const RawSocket main = accept_sender(l);
        main.send(frame_of(FrameType::kRefuse,
                           transport::encode(transport::Failure{false, "changed my mind"})));
        sender.wait();
    });
    check_sender_ends(1, "READY within", [](RawListener& l, Process& sender) {
        RawSocket main = accept_sender(l);
        send_heartbeats(main, sender);
    });
    // Reads nothing from the channels: they stall, though the main channel lives.
    check_sender_ends(1, "channel", [](RawListener& l, Process& sender) {
        RawSocket main = accept_sender(l);
        const std::array<RawSocket, 2> channels{l.accept(), l.accept()};
        main.send(frame_of(FrameType::kReady, "{}"));
        send_heartbeats(main, sender);
    });
    check_sender_ends(1, "channel", [](RawListener& l, Process& sender) {
        RawSocket main = accept_sender(l);
        l.accept();  // and closes it
        const RawSocket other = l.accept();
        main.send(frame_of(FrameType::kReady, "{}"));
        send_heartbeats(main, sender);
    });
    check_sender_ends(
        1, "the receiver counted 1 normal",
        [](RawListener& l, Process& sender) {
            RawSocket main = accept_sender(l);
            const std::array<RawSocket, 2> channels{l.accept(), l.accept()};
            main.send(frame_of(FrameType::kReady, "{}"));
            REQUIRE(main.await_frame(FrameType::kComplete));
            main.send(frame_of(FrameType::kDone, transport::encode(transport::Done{{1, 2, 3}})));
            sender.wait();
        },
        "anon:64K,fill=untouched");
    check_sender_ends(
        1, "main channel",
        [](RawListener& l, Process&) {
            RawSocket main = accept_sender(l);
            const std::array<RawSocket, 2> channels{l.accept(), l.accept()};
            main.send(frame_of(FrameType::kReady, "{}"));
            REQUIRE(main.await_frame(FrameType::kComplete));
        },
        "anon:64K,fill=untouched");
}

}  // namespace migrate::e2e
