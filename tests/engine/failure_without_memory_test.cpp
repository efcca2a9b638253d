// SPDX-License-Identifier: Apache-2.0
// A session that ends without the memory to encode its reason still tells the peer who has the
// guest.
#include <new>

#include "catch.hpp"
#include "engine/peer_link.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/tcp_pair.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {
namespace {

using transport::ControlChannel;
using transport::FrameType;

// The FAILURE of a link whose session fails, with this knowledge of the guest, when there is no
// memory left.
transport::Failure failure_of_link(std::optional<bool> guest_runs) {
    ThreadTimes times;
    Cancellation cancellation;
    auto [near, far] = transport::make_socket_pair();
    auto peer = must(ControlChannel::create(std::move(far)));
    const auto link =
        must(PeerLink::create(must(ControlChannel::create(std::move(near))),
                              {.name = "link",
                               .io_timeout = kLong,
                               .guest_runs = [guest_runs] { return guest_runs; },
                               .settled = [](Error) -> Error { throw std::bad_alloc(); }},
                              times, cancellation));
    cancellation.fail(Error("the disk is full"));
    while (true) {
        auto frame = must(peer->receive(kLong));
        REQUIRE(frame);
        if (frame->type == FrameType::kHeartbeat) continue;
        CHECK(frame->type == FrameType::kFailure);
        return transport::decode_failure(frame->body);
    }
}

TEST_CASE(
    "a side without memory still tells the peer whether the guest runs, or that it is unknown") {
    const auto guest_runs =
        GENERATE(std::optional<bool>(), std::optional(false), std::optional(true));
    const transport::Failure failure = failure_of_link(guest_runs);
    CHECK(failure.reason == "out of memory");
    CHECK(failure.guest_runs == guest_runs);
}

}  // namespace
}  // namespace migrate::engine
