// SPDX-License-Identifier: Apache-2.0
// A connection that breaks while a guest moves, the two processes being well: one guest goes on,
// and only one.
#include <array>
#include <csignal>
#include <random>

#include "catch.hpp"
#include "e2e/live_run.hpp"
#include "e2e/tcp_proxy.hpp"
#include "tests/support/seed.hpp"

namespace migrate::e2e {
namespace {

using std::chrono::milliseconds;
using transport::FrameType;

constexpr std::uint16_t kCutChannels = 4;
// io-timeout and handshake-timeout; nothing that follows a cut waits for longer than one of them.
constexpr milliseconds kTimeout{2500};
constexpr milliseconds kEndsWithin = 8 * kTimeout;

// All that a session has but heartbeats.
constexpr std::array kFrames{
    FrameType::kOffer,         FrameType::kAccept,          FrameType::kReady,
    FrameType::kRoundStart,    FrameType::kRoundEnd,        FrameType::kRoundDone,
    FrameType::kSwitchoverAck, FrameType::kSwitchoverStart, FrameType::kDeviceState,
    FrameType::kComplete,      FrameType::kLoaded,          FrameType::kHandover,
    FrameType::kDone};

int any_of(std::mt19937& random, int first, int last) {
    return std::uniform_int_distribution<int>(first, last)(random);
}

Cut random_cut(std::mt19937& random) {
    Cut cut;
    cut.connection = static_cast<std::size_t>(any_of(random, 0, kCutChannels));
    cut.by = any_of(random, 0, 1) == 0 ? CutBy::kFin : CutBy::kReset;
    const FrameType frame =
        kFrames[static_cast<std::size_t>(any_of(random, 0, static_cast<int>(kFrames.size()) - 1))];
    switch (any_of(random, 0, 3)) {
        case 0:
            cut.when.time = milliseconds(any_of(random, 0, 700));
            break;
        case 1:
            cut.when.bytes = static_cast<std::uint64_t>(any_of(random, 0, 80'000'000));
            break;
        case 2:
            cut.when.before_frame = frame;
            break;
        default:
            cut.when.after_frame = frame;
            break;
    }
    return cut;
}

// A run whose connections go through a network that breaks one of them. What became of it, with
// both processes ended.
GuestPlace run_with_cut(const Cut& cut, bool& has_cut) {
    const std::string timeout = std::to_string(kTimeout.count());
    const std::vector<std::string> common{"--run-for",           "50ms", "--io-timeout", timeout,
                                          "--handshake-timeout", timeout};
    std::vector<std::string> recv_options = common;
    recv_options.insert(recv_options.end(), {"--sink", "anon:"});
    Receiver receiver(recv_options);
    const TcpProxy network(receiver.port(), cut);
    std::vector<std::string> send_options = common;
    send_options.insert(send_options.end(),
                        {"--multifd-channels", std::to_string(kCutChannels), "--max-bandwidth",
                         "150M/s", "--reconnect-timeout", "1s"});
    Process sender(
        send_arguments(network.endpoint(), "workload:64M,rate=60,warm-up=0", send_options));
    sender.wait(kEndsWithin);
    // Without a session it goes on waiting for a sender.
    if (!receiver->ended_within(milliseconds(500)) &&
        receiver->err().find(" connected: ") == std::string::npos) {
        receiver->signal(SIGINT);
    }
    receiver->wait(kEndsWithin);
    has_cut = network.has_cut();
    return judge_guest(sender, receiver.process());
}

TEST_CASE("cutting any connection at any moment leaves one guest, and every page as it must be",
          "[live]") {
    const unsigned seed = test_seed();
    std::mt19937 random(seed);
    int cuts = 0;
    int stayed = 0;
    int nowhere = 0;
    for (int turn = 0; turn < fault_turns(); ++turn) {
        const Cut cut = random_cut(random);
        INFO("seed " << seed << ", turn " << turn << ": " << describe(cut));
        bool has_cut = false;
        const GuestPlace place = run_with_cut(cut, has_cut);
        cuts += has_cut ? 1 : 0;
        stayed += place == GuestPlace::kSender ? 1 : 0;
        nowhere += place == GuestPlace::kNowhere ? 1 : 0;
        if (!has_cut) CHECK(place == GuestPlace::kReceiver);
        // Over the main channel they still agree.
        if (cut.connection != 0) CHECK(place != GuestPlace::kNowhere);
    }
    WARN("seed " << seed << ": of " << fault_turns() << " migrations " << cuts << " were cut, "
                 << stayed << " guests stayed, " << nowhere << " were between the two");
}

void cut_around_handover(std::size_t connection) {
    for (const CutBy by : {CutBy::kFin, CutBy::kReset}) {
        for (const FrameType frame : {FrameType::kLoaded, FrameType::kHandover, FrameType::kDone}) {
            for (const bool after : {false, true}) {
                Cut cut{.connection = connection, .by = by};
                (after ? cut.when.after_frame : cut.when.before_frame) = frame;
                INFO(describe(cut));
                bool has_cut = false;
                const GuestPlace place = run_with_cut(cut, has_cut);
                CHECK(has_cut);
                // The sender returns until the receiver has the guest.
                CHECK(place == GuestPlace::kReceiver);
            }
        }
    }
}

TEST_CASE("cutting the main channel around the handover never makes a second guest",
          "[live][part-1]") {
    cut_around_handover(0);
}

TEST_CASE("cutting a data channel around the handover never makes a second guest",
          "[live][part-2]") {
    cut_around_handover(1);
}

}  // namespace
}  // namespace migrate::e2e
