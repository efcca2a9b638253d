// SPDX-License-Identifier: Apache-2.0
// The classes above Stream work over one that buffers and seals, as an encrypted one does.
#include "tests/transport/record_stream.hpp"

#include "tests/transport/stream_cases.hpp"

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
    check_scattering(make_record_pair());
}

TEST_CASE("bytes that a stream has buffered are input, although the connection has none") {
    check_buffered_input(make_record_pair());
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
    check_idle_and_stalled(make_record_pair(milliseconds(1)));
}

TEST_CASE("the main channel carries its frames over a stream of records") {
    CHECK(check_frames(make_record_pair()).kind() == ErrorKind::kLostConnection);
}

}  // namespace
}  // namespace migrate::transport
