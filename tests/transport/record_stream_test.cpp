// The classes above Stream work over one that buffers and seals, as an encrypted one does.
#include "tests/transport/record_stream.hpp"

#include <thread>

#include "base/units.hpp"
#include "catch.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/noise.hpp"
#include "tests/support/tcp_pair.hpp"
#include "transport/control_channel.hpp"

namespace migrate::transport {
namespace {

using std::chrono::milliseconds;

Socket adopt_records(UniqueFd fd, milliseconds limit) {
    auto stream = std::make_unique<RecordStream>(fd.get());
    return must(Socket::adopt(std::move(fd), StallLimits::both(limit), std::move(stream)));
}

SocketPair make_record_pair(milliseconds limit = kLong) {
    TcpPair pair = make_tcp_pair();
    return {adopt_records(std::move(pair.near), limit), adopt_records(std::move(pair.far), limit)};
}

TEST_CASE("gathered parts arrive scattered over a stream of records") {
    auto [near, far] = make_record_pair();
    auto content = noise(3 * kMiB + 7, 21);
    Status sent;
    std::jthread sender([&, &from = near] {
        std::vector<iovec> parts{{content.data(), 100},
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

TEST_CASE("bytes that a stream has buffered are input, although the connection has none") {
    auto [near, far] = make_record_pair();
    const auto content = noise(100, 22);
    must(near.send(content));
    must(near.send(content));
    std::vector<std::byte> buffer(10);
    must(far.receive(buffer));
    REQUIRE_FALSE(readable_within(SocketDescriptor::of(far), milliseconds(0)));
    CHECK(far.has_input());
    const Wakeup wakeup = must(Wakeup::create());
    REQUIRE(must(far.await_input(kNever, wakeup)) == InputWait::kInput);
    must(far.discard(180));
    CHECK(must(far.receive_now(buffer)) == 10);
    CHECK_FALSE(far.has_input());
    CHECK(must(far.receive_now(buffer)) == 0);
}

TEST_CASE("the end of a stream of records is told from a connection that was cut off") {
    std::vector<std::byte> buffer(4);
    SECTION("the peer ended it") {
        auto [near, far] = make_record_pair();
        near.finish_sending();
        CHECK(must(far.receive_first(buffer)) == Arrival::kClosed);
    }
    SECTION("the connection was cut off") {
        auto [near, far] = make_record_pair();
        near.shutdown();
        const auto arrival = far.receive_first(buffer);
        REQUIRE_FALSE(arrival);
        CHECK(arrival.error().kind() == ErrorKind::kLostConnection);
    }
}

TEST_CASE("an idle stream of records is idle, and one that stops in a packet is stalled") {
    auto [near, far] = make_record_pair(milliseconds(1));
    std::vector<std::byte> buffer(4);
    CHECK(must(far.receive_first(buffer)) == Arrival::kIdle);
    must(near.send(std::span(buffer).first(2)));
    const auto stalled = far.receive_first(buffer);
    REQUIRE_FALSE(stalled);
    CHECK(stalled.error().kind() == ErrorKind::kTimeout);
}

TEST_CASE("the main channel carries its frames over a stream of records") {
    auto [near_socket, far_socket] = make_record_pair();
    auto near = must(ControlChannel::create(std::move(near_socket)));
    const auto far = must(ControlChannel::create(std::move(far_socket)));
    // Several frames come in one read; the last of them is found without another byte.
    must(near->send(FrameType::kReady, std::string(kMaxFrameBody, 'a')));
    for (int i = 0; i < 20; ++i) must(near->send_if_idle(FrameType::kHeartbeat));
    CHECK(must(far->receive(kLong))->body.size() == kMaxFrameBody);
    for (int i = 0; i < 20; ++i) CHECK(must(far->receive(kLong))->type == FrameType::kHeartbeat);
    CHECK_FALSE(must(far->receive(milliseconds(0))));
    std::jthread closer([&near] {
        static_cast<void>(near->send_last(FrameType::kFailure, "why", kLong));
        near.reset();
    });
    CHECK(must(far->receive(kLong))->body == "why");
    const auto after = far->receive(kLong);
    REQUIRE_FALSE(after);
    CHECK(after.error().kind() == ErrorKind::kLostConnection);
    far->shutdown();
}

}  // namespace
}  // namespace migrate::transport
