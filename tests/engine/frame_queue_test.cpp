// SPDX-License-Identifier: Apache-2.0
#include "engine/frame_queue.hpp"

#include "catch.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/must.hpp"

namespace migrate::engine {
namespace {

using std::chrono::milliseconds;
using transport::FrameType;

constexpr std::size_t kFull = 16;

TEST_CASE("a queue gives frames out in order, and nothing after a timeout or a stop") {
    FrameQueue queue;
    must(queue.put({FrameType::kReady, "1"}));
    must(queue.put({FrameType::kDone, "2"}));
    CHECK(queue.take(kLong, {})->body == "1");
    CHECK(queue.take(std::nullopt, {})->body == "2");
    CHECK_FALSE(queue.take(milliseconds(1), {}));
    std::stop_source stopped;
    stopped.request_stop();
    CHECK_FALSE(queue.take(std::nullopt, stopped.get_token()));
}

TEST_CASE("a queue full of device state stops its reader until a frame is taken") {
    FrameQueue queue;
    for (std::size_t i = 0; i < kFull; ++i) {
        CHECK(queue.has_room());
        must(queue.put({FrameType::kDeviceState, "chunk"}));
    }
    CHECK_FALSE(queue.has_room());
    CHECK_FALSE(queue.await_room(milliseconds(1), {}));
    REQUIRE(queue.take(kLong, {}));
    CHECK(queue.await_room(kLong, {}));
}

TEST_CASE("more frames than an exchange has are an error, beside any device state") {
    FrameQueue queue;
    for (std::size_t i = 0; i < kFull; ++i) {
        must(queue.put({FrameType::kDeviceState, "chunk"}));
        must(queue.put({FrameType::kRoundDone, "{}"}));
    }
    const Status flood = queue.put({FrameType::kRoundDone, "{}"});
    REQUIRE_FALSE(flood);
    CHECK(flood.error().kind() == ErrorKind::kProtocol);
}

}  // namespace
}  // namespace migrate::engine
