// SPDX-License-Identifier: Apache-2.0
// A PeerLink whose peer is played by the test.
#pragma once

#include <initializer_list>
#include <memory>
#include <optional>

#include "base/cancellation.hpp"
#include "base/thread.hpp"
#include "catch.hpp"
#include "engine/peer_link.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/tcp_pair.hpp"

namespace migrate::engine {

// A link, and the other end of its connection in the test's hands.
struct Linked {
    explicit Linked(std::chrono::milliseconds io_timeout = kLong) {
        auto [near, far] = transport::make_socket_pair();
        peer = must(transport::ControlChannel::create(std::move(far)));
        link =
            must(PeerLink::create(must(transport::ControlChannel::create(std::move(near))),
                                  {.name = "link", .io_timeout = io_timeout}, times, cancellation));
        link->agree(make_link_times(io_timeout, std::nullopt));
    }
    Result<transport::Frame> expect(std::initializer_list<transport::FrameType> types) {
        return link->expect(types, kLong);
    }
    // The peer's next frame that is no heartbeat; nothing when the link closed.
    std::optional<transport::Frame> peer_hears() {
        while (true) {
            auto frame = peer->receive(kLong);
            if (!frame) return std::nullopt;
            if (*frame && (*frame)->type != transport::FrameType::kHeartbeat)
                return **std::move(frame);
        }
    }

    ThreadTimes times;
    Cancellation cancellation;
    std::unique_ptr<transport::ControlChannel> peer;
    std::unique_ptr<PeerLink> link;
};

}  // namespace migrate::engine
