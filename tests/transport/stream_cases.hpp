// SPDX-License-Identifier: Apache-2.0
// These cases hold for the classes above Stream over every stream of records, sealed or encrypted.
#pragma once

#include <thread>

#include "base/units.hpp"
#include "catch.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/noise.hpp"
#include "tests/support/tcp_pair.hpp"
#include "transport/control_channel.hpp"

namespace migrate::transport {

inline void check_scattering(SocketPair pair) {
    auto& [near, far] = pair;
    auto content = noise(3 * kMiB + 7, 21);
    Status sent;
    std::jthread sender([&, &from = near] {
        std::vector<iovec> parts{{content.data(), 100},
                                 {content.data() + 100, 0},
                                 {content.data() + 100, kMiB},
                                 {content.data() + 100 + kMiB, content.size() - 100 - kMiB}};
        sent = from.send(parts);
    });
    std::vector<std::byte> back(content.size());
    std::vector<iovec> parts{{back.data(), kMiB + 1}, {back.data() + kMiB + 1, 2 * kMiB + 6}};
    must(far.receive(std::span(parts)));
    sender.join();
    must(sent);
    CHECK(back == content);
    CHECK(near.bytes_sent() == content.size());
    CHECK(far.bytes_received() == content.size());
}

// The stream has read more from the connection than was asked for.
inline void check_buffered_input(SocketPair pair) {
    auto& [near, far] = pair;
    const auto content = noise(100, 22);
    must(near.send(content));
    must(near.send(content));
    std::vector<std::byte> buffer(10);
    must(far.receive(buffer));
    REQUIRE_FALSE(readable_within(SocketDescriptor::of(far), std::chrono::milliseconds(0)));
    CHECK(far.has_input());
    const Wakeup wakeup = must(Wakeup::create());
    REQUIRE(must(far.await_input(kNever, wakeup)) == InputWait::kInput);
    must(far.discard(180));
    CHECK(must(far.receive_now(buffer)) == 10);
    CHECK(must(far.receive_now(buffer)) == 0);
    CHECK_FALSE(far.has_input());
}

// `pair` has a limit of a millisecond for a peer that sends nothing.
inline void check_idle_and_stalled(SocketPair pair) {
    auto& [near, far] = pair;
    std::vector<std::byte> buffer(4);
    CHECK(must(far.receive_first(buffer)) == Arrival::kIdle);
    must(near.send(std::span(buffer).first(2)));
    const auto stalled = far.receive_first(buffer);
    REQUIRE_FALSE(stalled);
    CHECK(stalled.error().kind() == ErrorKind::kTimeout);
}

// Returns the error that the receiver gets when the sender has closed after its last frame.
inline Error check_frames(SocketPair pair) {
    auto near = must(ControlChannel::create(std::move(pair.near)));
    const auto far = must(ControlChannel::create(std::move(pair.far)));
    // Several frames come in one read; the last of them is found without another byte.
    must(near->send(FrameType::kReady, std::string(kMaxFrameBody, 'a')));
    for (int i = 0; i < 20; ++i) must(near->send_if_idle(FrameType::kHeartbeat));
    CHECK(must(far->receive(kLong))->body.size() == kMaxFrameBody);
    for (int i = 0; i < 20; ++i) CHECK(must(far->receive(kLong))->type == FrameType::kHeartbeat);
    CHECK_FALSE(must(far->receive(std::chrono::milliseconds(0))));
    std::jthread closer([&near] {
        static_cast<void>(near->send_last(FrameType::kFailure, "why", kLong));
        near.reset();
    });
    CHECK(must(far->receive(kLong))->body == "why");
    const auto after = far->receive(kLong);
    REQUIRE_FALSE(after);
    far->shutdown();
    return after.error();
}

}  // namespace migrate::transport
