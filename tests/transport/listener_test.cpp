// SPDX-License-Identifier: Apache-2.0
#include "transport/listener.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <thread>

#include "base/log.hpp"
#include "catch.hpp"
#include "tests/support/descriptor_limit.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/tcp_pair.hpp"
#include "transport/connector.hpp"
#include "transport/control_channel.hpp"
#include "transport/handshake.hpp"

namespace migrate::transport {
namespace {

using std::chrono::milliseconds;

std::unique_ptr<Listener> make_listener(milliseconds handshake_timeout = kLong) {
    return must(Listener::create({"127.0.0.1", 0}, handshake_timeout));
}

Socket connect(const Listener& listener) { return adopt(loopback_socket(listener.port(), false)); }

void send_text(Socket& socket, std::string_view text) {
    must(socket.send(std::as_bytes(std::span(text.data(), text.size()))));
}

// A data connection, complete with its hello.
Socket connect_data(const Listener& listener, std::uint16_t channel) {
    Socket socket = connect(listener);
    must(socket.send(encode_hello({.role = ConnectionRole::kData, .channel = ChannelId{channel}})));
    return socket;
}

TEST_CASE("a listener says where it listens") {
    const auto listener = make_listener();
    CHECK(listener->port() != 0);
    CHECK(listener->endpoint() == "127.0.0.1:" + std::to_string(listener->port()));
    const auto second = Listener::create({"127.0.0.1", listener->port()}, kLong);
    CHECK(message_of(second).find(listener->endpoint()) != std::string::npos);
    CHECK_FALSE(Listener::create({"no such host.invalid", 1}, kLong));
}

TEST_CASE("a listener takes connections on all its addresses, which share a port") {
    const std::vector<Address> addresses{{.host = "127.0.0.1"}, {.host = "127.0.0.2"}};
    const auto listener = must(Listener::create(addresses, kLong));
    const std::string port = std::to_string(listener->port());
    CHECK(listener->endpoint() == "127.0.0.1:" + port + " 127.0.0.2:" + port);
    for (const Address& address : addresses) {
        Socket socket =
            must(connect_to({address.host, listener->port()}, {kLong, StallLimits::both(kLong)}));
        must(socket.send(encode_hello({.role = ConnectionRole::kData, .channel = ChannelId{1}})));
        const NewConnection connection = must(listener->next(kLong, {}));
        CHECK(must(connection.socket.own()).address() == address.host);
    }
    const std::vector<Address> twice{addresses[0], {"127.0.0.1", listener->port()}};
    CHECK(message_of(Listener::create(twice, kLong)).find(port) != std::string::npos);
}

TEST_CASE("a sender's hello and offer arrive, and are counted") {
    const auto listener = make_listener();
    Socket sender = connect(*listener);
    must(sender.send(encode_hello({.role = ConnectionRole::kMain})));
    send_text(sender, encode_frame(FrameType::kOffer, "{\"x\":1}"));
    const NewConnection connection = must(listener->next(kLong, {}));
    CHECK(connection.hello.role == ConnectionRole::kMain);
    CHECK(connection.offer == "{\"x\":1}");
    CHECK(connection.socket.bytes_received() == sender.bytes_sent());
    CHECK(connection.peer == must(Endpoint::own_of(SocketDescriptor::of(sender))).text());
}

TEST_CASE("nothing behind the hello is consumed of a data connection") {
    const auto listener = make_listener();
    Socket sender = connect_data(*listener, 5);
    send_text(sender, "next");
    NewConnection connection = must(listener->next(kLong, {}));
    CHECK(connection.hello.channel == ChannelId{5});
    CHECK(connection.socket.bytes_received() == kHelloSize);
    std::array<std::byte, 4> bytes{};
    must(connection.socket.receive(bytes));
    CHECK(bytes[3] == std::byte{'t'});
}

TEST_CASE("a connection that was accepted waits for the rest of a packet") {
    const auto listener = make_listener();
    // The listener has to wait for the hello, for which asio makes the descriptor non-blocking.
    Socket sender = connect(*listener);
    CHECK_FALSE(listener->next(milliseconds(1), {}));
    must(sender.send(encode_hello({.role = ConnectionRole::kData, .channel = ChannelId{6}})));
    NewConnection connection = must(listener->next(kLong, {}));
    CHECK((::fcntl(SocketDescriptor::of(connection.socket), F_GETFL) & O_NONBLOCK) == 0);
    must(connection.socket.set_limits(StallLimits::both(kLong)));
    std::array<std::byte, 8> bytes{};
    Result<Arrival> arrival = Arrival::kIdle;
    std::jthread receiver([&] { arrival = connection.socket.receive_first(bytes); });
    send_text(sender, "half");
    send_text(sender, "more");
    receiver.join();
    CHECK(must(std::move(arrival)) == Arrival::kComplete);
}

TEST_CASE("strangers that say nothing, half of it or nonsense do not keep a sender waiting") {
    const auto listener = make_listener();
    const Socket silent = connect(*listener);
    Socket half = connect(*listener);
    send_text(half, "MHLO");
    Socket nonsense = connect(*listener);
    send_text(nonsense, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    { const Socket gone = connect(*listener); }
    Socket no_offer = connect(*listener);
    must(no_offer.send(encode_hello({.role = ConnectionRole::kMain})));
    send_text(no_offer, encode_frame(FrameType::kReady, "{}"));
    Socket oversized = connect(*listener);
    must(oversized.send(encode_hello({.role = ConnectionRole::kMain})));
    send_text(oversized,
              encode_frame(FrameType::kOffer, std::string(kMaxFrameBody + 1, 'x')).substr(0, 12));

    const Socket sender = connect_data(*listener, 3);
    CHECK(must(listener->next(kLong, {})).hello.channel == ChannelId{3});
}

TEST_CASE("more unknown peers than can wait do not keep a sender out, in any order") {
    const auto listener = make_listener();
    const Socket early = connect_data(*listener, 1);
    std::vector<Socket> strangers;
    for (std::size_t i = 0; i < Listener::kMaxPending + 20; ++i) {
        strangers.push_back(connect(*listener));
    }
    const Socket late = connect_data(*listener, 2);
    CHECK(must(listener->next(kLong, {})).hello.channel == ChannelId{1});
    CHECK(must(listener->next(kLong, {})).hello.channel == ChannelId{2});
    // The oldest gave way, with no byte said to them.
    std::array<std::byte, 1> byte{};
    CHECK(must(strangers.front().receive_first(byte)) == Arrival::kClosed);
    // And those that wait may still turn out to be senders.
    must(strangers.back().send(
        encode_hello({.role = ConnectionRole::kData, .channel = ChannelId{3}})));
    CHECK(must(listener->next(kLong, {})).hello.channel == ChannelId{3});
}

TEST_CASE("a listener without descriptors serves those who wait once there are some") {
    const auto listener = make_listener();
    const Socket sender = connect_data(*listener, 4);
    DescriptorLimit none(0);
    const auto connection = listener->next(milliseconds(1), {});
    none.lift();
    REQUIRE(none.holds());
    REQUIRE_FALSE(connection);
    CHECK(connection.error().kind() == ErrorKind::kTimeout);
    CHECK(must(listener->next(kLong, {})).hello.channel == ChannelId{4});
}

std::vector<Socket> strangers_of(const Listener& listener, int count) {
    std::vector<Socket> strangers;
    for (int i = 0; i < count; ++i) strangers.push_back(connect(listener));
    return strangers;
}

// A sender that comes after `strangers` is served, although few descriptors are left.
void check_served_after(Listener& listener, const std::vector<Socket>& strangers) {
    static_cast<void>(strangers);  // stay connected
    const Socket sender = connect_data(listener, 5);
    DescriptorLimit three(3);
    auto connection = listener.next(kLong, {});
    three.lift();
    REQUIRE(three.holds());
    CHECK(must(std::move(connection)).hello.channel == ChannelId{5});
}

TEST_CASE("strangers that hold all descriptors give them back when their time is over") {
    const auto listener = make_listener(milliseconds(1));
    check_served_after(*listener, strangers_of(*listener, 4));
}

TEST_CASE("the oldest strangers give way to a sender if descriptors are few") {
    const auto listener = make_listener();
    std::vector<Socket> strangers = strangers_of(*listener, 20);
    check_served_after(*listener, strangers);
    std::array<std::byte, 1> byte{};
    CHECK(must(strangers.front().receive_first(byte)) == Arrival::kClosed);
}

TEST_CASE("several connections that came at once are given out one by one") {
    const auto listener = make_listener();
    std::vector<Socket> senders;
    for (std::uint16_t i = 0; i < 20; ++i) senders.push_back(connect_data(*listener, i));
    std::vector<bool> seen(20);
    for (int i = 0; i < 20; ++i)
        seen[index_of(must(listener->next(kLong, {})).hello.channel)] = true;
    CHECK(seen == std::vector<bool>(20, true));
}

TEST_CASE("a peer of another version gets an answer that names it") {
    const std::uint16_t version = GENERATE(std::uint16_t{1}, std::uint16_t{77});
    const auto listener = make_listener();
    Socket other = connect(*listener);
    must(other.send(encode_hello({.version = version})));
    const Socket sender = connect_data(*listener, 0);
    must(listener->next(kLong, {}));
    const auto channel = must(ControlChannel::create(std::move(other)));
    std::optional<Frame> frame;
    // The refusal may be on its way only after the next connection was looked at.
    while (!frame) {
        static_cast<void>(listener->next(milliseconds(1), {}));
        frame = must(channel->receive(milliseconds(10)));
    }
    CHECK(frame->type == FrameType::kRefuse);
    CHECK(decode_failure(frame->body).reason ==
          fmt::format("the receiver speaks protocol version 2, the sender version {}: use the same "
                      "release of migrate on both hosts",
                      version));
}

TEST_CASE("a stranger that says nothing in time is closed") {
    const auto listener = make_listener(milliseconds(1));
    Socket silent = connect(*listener);
    std::array<std::byte, 1> byte{};
    Result<Arrival> arrival = Arrival::kIdle;
    std::stop_source stop;
    std::jthread server([&] { static_cast<void>(listener->next(std::nullopt, stop.get_token())); });
    arrival = silent.receive_first(byte);
    stop.request_stop();
    CHECK(must(std::move(arrival)) == Arrival::kClosed);
}

TEST_CASE("a wait for a connection ends at its timeout") {
    const auto listener = make_listener();
    for (const milliseconds timeout : {milliseconds(0), milliseconds(1)}) {
        const auto connection = listener->next(timeout, {});
        REQUIRE_FALSE(connection);
        CHECK(connection.error().kind() == ErrorKind::kTimeout);
    }
    // It goes on listening.
    const Socket sender = connect_data(*listener, 1);
    CHECK(listener->next(kLong, {}));
}

TEST_CASE("stop ends the wait for a connection, before and during it") {
    const auto listener = make_listener();
    std::stop_source before;
    before.request_stop();
    const auto none = listener->next(std::nullopt, before.get_token());
    REQUIRE_FALSE(none);
    CHECK(none.error().kind() == ErrorKind::kCancelled);
    for (int i = 0; i < 50; ++i) {
        std::stop_source stop;
        std::optional<ErrorKind> kind;
        std::jthread waiter([&] {
            const auto connection = listener->next(std::nullopt, stop.get_token());
            if (!connection) kind = connection.error().kind();
        });
        stop.request_stop();
        waiter.join();
        REQUIRE(kind == ErrorKind::kCancelled);
    }
}

TEST_CASE("a timer of one wait that ran out late does not touch the next") {
    const auto listener = make_listener();
    for (int i = 0; i < 100; ++i) {
        const Socket sender = connect_data(*listener, 0);
        static_cast<void>(listener->next(milliseconds(i % 2), {}));
    }
}

TEST_CASE("a refusal reaches a peer that had more to say") {
    TcpPair pair = make_tcp_pair();
    Socket peer = adopt(std::move(pair.near));
    send_text(peer, std::string(3000, 'x'));
    refuse(adopt(std::move(pair.far)), "not today");
    const auto channel = must(ControlChannel::create(std::move(peer)));
    const auto frame = must(channel->receive(kLong));
    REQUIRE(frame);
    CHECK(frame->type == FrameType::kRefuse);
    CHECK(decode_failure(frame->body).reason == "not today");
}

}  // namespace
}  // namespace migrate::transport
