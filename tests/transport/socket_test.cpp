// SPDX-License-Identifier: Apache-2.0
#include "transport/socket.hpp"

#include <linux/filter.h>
#include <linux/socket.h>
#include <poll.h>

#include <array>
#include <climits>
#include <thread>
#include <vector>

#include "base/units.hpp"
#include "catch.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/noise.hpp"
#include "tests/support/tcp_pair.hpp"

namespace migrate::transport {
namespace {

// From one end to the other, more than the kernel may hold between them.
template <typename From, typename To>
void pass(Socket& near, Socket& far, From from, To to) {
    Status sent;
    std::jthread sender([&] { sent = near.send(from); });
    must(far.receive(to));
    sender.join();
    must(sent);
}

TEST_CASE("a message of any size arrives whole and is counted") {
    auto [near, far] = make_socket_pair();
    const auto content = noise(8 * kMiB + 3, 11);
    std::vector<std::byte> back(content.size());
    pass(near, far, std::span(content), std::span(back));
    CHECK(back == content);
    CHECK(near.bytes_sent() == content.size());
    CHECK(far.bytes_received() == content.size());
}

TEST_CASE("more parts than one system call takes are gathered and scattered in order") {
    auto [near, far] = make_socket_pair();
    auto content = noise(3 * IOV_MAX * 5, 11);
    std::vector<std::byte> back(content.size());
    std::vector<iovec> from;
    std::vector<iovec> to;
    for (std::size_t i = 0; i < content.size(); i += 5) from.push_back({content.data() + i, 5});
    for (std::size_t i = 0; i < back.size(); i += 3) to.push_back({back.data() + i, 3});
    pass(near, far, std::span(from), std::span(to));
    CHECK(back == content);
}

TEST_CASE("empty parts are neither sent nor waited for") {
    auto [near, far] = make_socket_pair();
    auto content = noise(6, 11);
    std::vector<iovec> from{
        {nullptr, 0}, {content.data(), 2}, {nullptr, 0}, {content.data() + 2, 4}, {nullptr, 0}};
    must(near.send(from));
    must(near.send(std::span<const std::byte>()));
    std::vector<std::byte> back(6);
    std::vector<iovec> to{
        {nullptr, 0}, {back.data(), 5}, {nullptr, 0}, {back.data() + 5, 1}, {nullptr, 0}};
    must(far.receive(std::span(to)));
    CHECK(back == content);
    must(far.receive(std::span<iovec>()));
    must(far.receive(std::span<std::byte>()));
    CHECK(far.bytes_received() == 6);
}

TEST_CASE("an end in mid-message is a lost connection, at every byte") {
    const auto content = noise(10, 11);
    for (std::size_t size = 0; size < content.size(); ++size) {
        TcpPair pair = make_tcp_pair();
        Socket far = adopt(std::move(pair.far));
        {
            Socket near = adopt(std::move(pair.near));
            must(near.send(std::span(content).first(size)));
        }
        std::vector<std::byte> back(content.size());
        const Status status = far.receive(back);
        REQUIRE_FALSE(status);
        CHECK(status.error().kind() == ErrorKind::kLostConnection);
    }
}

TEST_CASE("waiting for the first byte tells closed, complete, cut off and idle apart") {
    std::vector<std::byte> buffer(4);
    const auto content = noise(4, 11);
    auto [near, far] = make_socket_pair();
    must(near.send(content));
    CHECK(must(far.receive_first(buffer)) == Arrival::kComplete);
    CHECK(buffer == content);

    must(near.send(std::span(content).first(2)));
    near.finish_sending();
    const auto cut = far.receive_first(buffer);
    REQUIRE_FALSE(cut);
    CHECK(cut.error().kind() == ErrorKind::kLostConnection);
    CHECK(must(far.receive_first(buffer)) == Arrival::kClosed);

    auto [silent, waiting] = make_socket_pair(1);
    CHECK(must(waiting.receive_first(buffer)) == Arrival::kIdle);
    must(silent.send(std::span(content).first(1)));
    const auto stalled = waiting.receive_first(buffer);
    REQUIRE_FALSE(stalled);
    CHECK(stalled.error().kind() == ErrorKind::kTimeout);
}

TEST_CASE("channels share what fills the path, unless that is too little or too much to bound") {
    using std::chrono::microseconds;
    // A path within a host: 2 MiB for all.
    CHECK(in_flight_limit(microseconds(20), 1) == 2 * kMiB);
    CHECK(in_flight_limit(microseconds(20), 8) == 256 * kKiB);
    CHECK(in_flight_limit(microseconds(20), 9) == 0);
    CHECK(in_flight_limit(microseconds(20), 255) == 0);
    // 200 Gbit/s move 5 MB in a round trip of 200 microseconds.
    CHECK(in_flight_limit(microseconds(200), 2) == 2'500'000);
    CHECK(in_flight_limit(microseconds(200), 8) == 625'000);
    CHECK(in_flight_limit(microseconds(200), 1) == 0);
    // A long way, an unknown one, one beyond all arithmetic.
    CHECK(in_flight_limit(microseconds(50'000), 8) == 0);
    CHECK(in_flight_limit(microseconds(0), 8) == 0);
    CHECK(in_flight_limit(microseconds::max(), 255) == 0);
}

TEST_CASE("a connection that shares its path is bounded by the kernel or left to it") {
    for (const int channels : {1, 8, 64}) {
        auto [near, far] = make_socket_pair();
        must(near.share_path(static_cast<std::uint16_t>(channels)));
        int locked = 0;
        int size = 0;
        socklen_t length = sizeof locked;
        REQUIRE(::getsockopt(SocketDescriptor::of(near), SOL_SOCKET, SO_BUF_LOCK, &locked,
                             &length) == 0);
        REQUIRE(::getsockopt(SocketDescriptor::of(near), SOL_SOCKET, SO_RCVBUF, &size, &length) ==
                0);
        CAPTURE(channels, locked, size);
        // A busy machine's round trips may be long ones.
        if ((locked & SOCK_RCVBUF_LOCK) != 0) {
            CHECK(size / 2 >= static_cast<int>(192 * kKiB));
            CHECK(size / 2 < static_cast<int>(4 * kMiB));
        }
        const auto content = noise(3 * kMiB, 5);
        std::vector<std::byte> back(content.size());
        pass(near, far, std::span(content), std::span(back));
        CHECK(back == content);
    }
}

TEST_CASE("a peer that takes nothing is given up") {
    auto [near, far] = make_socket_pair(1);
    const std::vector<std::byte> large(64 * kMiB);
    const Status sent = near.send(large);
    REQUIRE_FALSE(sent);
    CHECK((sent.error().kind() == ErrorKind::kTimeout ||
           sent.error().kind() == ErrorKind::kLostConnection));
}

TEST_CASE("a path that loses every packet is told of with what was sent again") {
    auto [near, far] = make_tcp_pair();
    // The kernel drops what arrives, as a path does that takes no packet of this size.
    std::array<sock_filter, 1> drop_all{sock_filter{BPF_RET | BPF_K, 0, 0, 0}};
    const sock_fprog program{drop_all.size(), drop_all.data()};
    REQUIRE(::setsockopt(far.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0);
    Socket sender = adopt(std::move(near), std::chrono::milliseconds(1000));
    const auto content = noise(64 * kMiB, 9);
    const Status sent = sender.send(content);
    REQUIRE_FALSE(sent);
    INFO(sent.error().message());
    CHECK(sent.error().message().find(" bytes again, round trip ") != std::string::npos);
    CHECK(sent.error().message().find("check its MTU") != std::string::npos);
}

TEST_CASE("a peer that has no room is waited for where that is expected, until a shutdown") {
    constexpr std::uint64_t kTimeoutMs = 50;
    auto [near, far] = make_socket_pair(kTimeoutMs);
    must(near.expect_back_pressure());
    const std::vector<std::byte> large(64 * kMiB);
    Status sent;
    std::jthread sender([&, &to = near] { sent = to.send(large); });
    // Several timeouts in which nothing moves, once the buffers are full.
    std::uint64_t before = UINT64_MAX;
    for (int still = 0; still < 10;) {
        ::poll(nullptr, 0, kTimeoutMs);
        still = near.bytes_sent() == before ? still + 1 : 0;
        before = near.bytes_sent();
    }
    SECTION("it makes room") {
        must(far.discard(large.size()));
        sender.join();
        must(sent);
    }
    SECTION("shutdown") {
        near.shutdown();
        sender.join();
        CHECK_FALSE(sent);
    }
}

TEST_CASE("discarded bytes are counted and what follows is whole") {
    auto [near, far] = make_socket_pair();
    const auto content = noise(2 * kMiB + 10, 11);
    Status sent;
    std::jthread sender([&, &from = near] { sent = from.send(content); });
    must(far.discard(2 * kMiB));
    must(far.discard(0));
    std::vector<std::byte> rest(10);
    must(far.receive(rest));
    sender.join();
    must(sent);
    CHECK(std::equal(rest.begin(), rest.end(), content.end() - 10));
    CHECK(far.bytes_received() == content.size());
    near.finish_sending();
    const Status status = far.discard(1);
    REQUIRE_FALSE(status);
    CHECK(status.error().kind() == ErrorKind::kLostConnection);
}

TEST_CASE("shutdown from another thread ends a blocked receive and a blocked send") {
    auto [near, far] = make_socket_pair();
    Status received;
    Status sent;
    std::jthread receiver([&, &from = far] {
        std::vector<std::byte> buffer(1);
        received = from.receive(buffer);
    });
    std::jthread sender([&, &to = near] { sent = to.send(std::vector<std::byte>(64 * kMiB)); });
    far.shutdown();
    near.shutdown();
    receiver.join();
    sender.join();
    CHECK_FALSE(sent);
    // Some of what was sent may have come first.
    if (!received) CHECK(received.error().kind() == ErrorKind::kLostConnection);
}

TEST_CASE("a socket knows its peer, and a descriptor that is not a socket is refused") {
    TcpPair pair = make_tcp_pair();
    const std::uint16_t port = port_of(pair.near.get());
    const Socket far = adopt(std::move(pair.far));
    CHECK(far.peer_name() == "127.0.0.1:" + std::to_string(port));
    CHECK(must(Endpoint::own_of(pair.near.get())).text() == far.peer_name());
    CHECK(peer_name(-1) == "?");
    CHECK_FALSE(Socket::adopt(UniqueFd(), StallLimits::both(kLong)));
}

TEST_CASE("new stall limits replace the first ones") {
    auto [near, far] = make_socket_pair();
    must(far.set_limits(StallLimits::both(std::chrono::milliseconds(1))));
    std::vector<std::byte> buffer(2);
    CHECK(must(far.receive_first(buffer)) == Arrival::kIdle);
    must(near.send(std::span(buffer).first(1)));
    CHECK(message_of(far.receive(buffer)).find("1 ms") != std::string::npos);
}

TEST_CASE("a receive and a send that must not wait return at once") {
    auto [near, far] = make_socket_pair();
    std::vector<std::byte> buffer(16);
    CHECK(must(far.receive_now(buffer)) == 0);
    CHECK_FALSE(far.has_input());
    CHECK(near.has_room());
    const auto content = noise(10, 3);
    must(near.send_now(content));
    CHECK(far.has_input());
    const Wakeup wakeup = must(Wakeup::create());
    REQUIRE(must(far.await_input(kNever, wakeup)) == InputWait::kInput);
    CHECK(must(far.receive_now(buffer)) == content.size());
    CHECK(std::equal(content.begin(), content.end(), buffer.begin()));
    const std::vector<std::byte> large(64 * kMiB);
    CHECK_FALSE(near.send_now(large));
    CHECK_FALSE(near.has_room());
    CHECK(near.bytes_sent() < content.size() + large.size());
}

TEST_CASE("a wait for input ends in time, when woken, and at the end of the stream") {
    auto [near, far] = make_socket_pair();
    const Wakeup wakeup = must(Wakeup::create());
    CHECK(must(far.await_input(WaitClock::now(), wakeup)) == InputWait::kTimeout);
    wakeup.wake();
    CHECK(must(far.await_input(kNever, wakeup)) == InputWait::kWoken);
    CHECK(must(far.await_input(WaitClock::now(), wakeup)) == InputWait::kTimeout);
    near.finish_sending();
    CHECK(must(far.await_input(kNever, wakeup)) == InputWait::kInput);
    std::vector<std::byte> buffer(1);
    const auto ended = far.receive_now(buffer);
    REQUIRE_FALSE(ended);
    CHECK(ended.error().kind() == ErrorKind::kLostConnection);
}

TEST_CASE("draining ends when the peer closes, in time, and despite a peer that sends on") {
    auto [near, far] = make_socket_pair();
    far.drain(WaitClock::now());
    SECTION("it closes") {
        must(near.send(noise(100, 1)));
        near.finish_sending();
        far.drain(kNever);
        CHECK(far.bytes_received() == 100);
    }
    SECTION("it sends on") {
        std::jthread flood([&, &from = near] {
            const std::vector<std::byte> part(kMiB);
            while (from.send(part)) {
            }
        });
        far.drain(WaitClock::now());
        far.shutdown();
        near.shutdown();
    }
}

int buffer_of(int fd, int name) {
    int bytes = 0;
    socklen_t size = sizeof bytes;
    REQUIRE(::getsockopt(fd, SOL_SOCKET, name, &bytes, &size) == 0);
    return bytes;
}

TEST_CASE("a socket buffer has the size that was asked for, or is refused with the limit's name") {
    TcpPair pair = make_tcp_pair();
    const int near_fd = pair.near.get();
    const int far_fd = pair.far.get();
    const StallLimits limits = StallLimits::both(std::chrono::seconds(30));
    Socket near = must(Socket::adopt(std::move(pair.near), limits));
    Socket far = must(Socket::adopt(std::move(pair.far), limits));
    // The kernel doubles the size for its bookkeeping.
    must(near.use_buffer(BufferSide::kSends, 128 * kKiB));
    must(far.use_buffer(BufferSide::kReceives, 96 * kKiB));
    CHECK(buffer_of(near_fd, SO_SNDBUF) == 256 * 1024);
    CHECK(buffer_of(far_fd, SO_RCVBUF) == 192 * 1024);
    must(check_socket_buffer(BufferSide::kSends, 64 * kKiB));
    must(check_socket_buffer(BufferSide::kReceives, 64 * kKiB));
    for (const auto& [side, limit] : {std::pair(BufferSide::kSends, "net.core.wmem_max"),
                                      std::pair(BufferSide::kReceives, "net.core.rmem_max")}) {
        const Status refused = check_socket_buffer(side, kGiB);
        CHECK_THAT(message_of(refused),
                   Catch::Contains(limit) && Catch::Contains("lower multifd-socket-buffer"));
        CHECK(refused.error().kind() == ErrorKind::kRefused);
    }
}

}  // namespace
}  // namespace migrate::transport
