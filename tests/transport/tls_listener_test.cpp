// SPDX-License-Identifier: Apache-2.0
// The listener and the connector with TLS: strangers, half handshakes, and peers that do not
// encrypt.
#include <sys/stat.h>

#include <filesystem>
#include <thread>

#include "catch.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/transport/tls_pair.hpp"
#include "transport/connector.hpp"
#include "transport/control_channel.hpp"
#include "transport/handshake.hpp"
#include "transport/listener.hpp"

namespace migrate::transport {
namespace {

using std::chrono::milliseconds;

// The certificates of one host, which is sender and receiver.
struct Host {
    TestPki pki;
    TestHost files{pki};
    Security security{.tls = x509_endpoint(files.folder.path())};
};

std::unique_ptr<Listener> listen_with(const Security& security,
                                      milliseconds handshake_timeout = kLong) {
    return must(Listener::create({"127.0.0.1", 0}, handshake_timeout, security));
}

ConnectOptions with(const Security& security, milliseconds timeout = kLong) {
    return {timeout, StallLimits::both(kLong), {}, security};
}

// A main connection's first bytes.
Status send_opening(Socket& sender) {
    std::string opening;
    const HelloBytes hello = encode_hello({.role = ConnectionRole::kMain});
    opening.assign(reinterpret_cast<const char*>(hello.data()), hello.size());
    opening += encode_frame(FrameType::kOffer, "{}");
    return sender.send(std::as_bytes(std::span(opening)));
}

// Connects to the listener, which is served meanwhile.
struct Connected {
    Result<Socket> sender = Error("did not connect");
    Result<NewConnection> at_receiver = Error("did not arrive");
};
Connected connect_main(Listener& listener, const ConnectOptions& options) {
    Connected result;
    std::stop_source done;
    std::jthread sender([&] {
        result.sender = connect_to({"127.0.0.1", listener.port()}, options);
        if (!result.sender) {
            done.request_stop();
            return;
        }
        static_cast<void>(send_opening(*result.sender));
    });
    result.at_receiver = listener.next(kLong, done.get_token());
    return result;
}

TEST_CASE("an encrypted sender arrives with its offer, and its channels resume the session") {
    const Host host;
    const auto listener = listen_with(host.security);
    Connected main = connect_main(*listener, with(host.security));
    must(std::move(main.at_receiver));
    REQUIRE(main.sender);
    CHECK(main.sender->security().peer == "CN=host,O=Test");
    std::vector<Socket> channels;
    Status connected;
    std::jthread sender([&] {
        auto made = connect_alike(*main.sender->peer(), 20, with(host.security));
        if (!made) {
            connected = made.error();
            return;
        }
        channels = *std::move(made);
        for (std::uint16_t i = 0; i < 20 && connected; ++i) {
            connected = channels[i].send(
                encode_hello({.role = ConnectionRole::kData, .channel = ChannelId{i}}));
        }
    });
    std::vector<bool> seen(20);
    for (int i = 0; i < 20; ++i) {
        const NewConnection one = must(listener->next(kLong, {}));
        CHECK(one.socket.security().is_encrypted());
        seen[index_of(one.hello.channel)] = true;
    }
    sender.join();
    must(connected);
    CHECK(seen == std::vector<bool>(20, true));
}

TEST_CASE("half handshakes and silent strangers do not keep an encrypted sender waiting") {
    const Host host;
    const auto listener = listen_with(host.security);
    std::vector<UniqueFd> strangers;
    for (int i = 0; i < 300; ++i) {
        strangers.push_back(loopback_socket(listener->port(), false));
        // Nothing, one byte of a ClientHello, its first half, or other bytes.
        static constexpr std::string_view kHalfHello("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03",
                                                     10);
        const std::string_view said = i % 4 == 0   ? ""
                                      : i % 4 == 1 ? kHalfHello.substr(0, 1)
                                      : i % 4 == 2 ? kHalfHello
                                                   : "GET / HTTP/1.1\r\n";
        if (!said.empty()) {
            REQUIRE(::send(strangers.back().get(), said.data(), said.size(), MSG_NOSIGNAL) > 0);
        }
    }
    Connected main = connect_main(*listener, with(host.security));
    must(std::move(main.at_receiver));
}

TEST_CASE("strangers do not push out a sender that is authenticated") {
    const Host host;
    const auto listener = listen_with(host.security);
    Result<NewConnection> at_receiver = Error("did not arrive");
    std::stop_source stop;
    std::jthread receiver([&] { at_receiver = listener->next(kLong, stop.get_token()); });
    auto sender = connect_to({"127.0.0.1", listener->port()}, with(host.security));
    if (!sender) stop.request_stop();
    must(sender ? Status() : Status(sender.error()));
    std::vector<Socket> strangers;
    for (std::size_t i = 0; i <= Listener::kMaxPending; ++i) {
        strangers.push_back(adopt(loopback_socket(listener->port(), false)));
    }
    // The oldest of them makes room for the last one.
    std::array<std::byte, 1> byte{};
    const auto arrival = strangers.front().receive_first(byte);
    CHECK((!arrival || *arrival == Arrival::kClosed));
    CHECK(send_opening(*sender));
    receiver.join();
    must(std::move(at_receiver));
}

TEST_CASE("a handshake that does not end is ended by its timeout, on both sides") {
    const Host host;
    SECTION("at the receiver") {
        const auto listener = listen_with(host.security, milliseconds(100));
        Socket half = adopt(loopback_socket(listener->port(), false));
        must(half.send(std::as_bytes(std::span("\x16\x03\x01\x02", 4))));
        std::stop_source stop;
        std::jthread server(
            [&] { static_cast<void>(listener->next(std::nullopt, stop.get_token())); });
        std::array<std::byte, 1> byte{};
        const auto arrival = half.receive_first(byte);
        stop.request_stop();
        CHECK((!arrival || *arrival == Arrival::kClosed));
    }
    SECTION("at the sender") {
        const UniqueFd deaf = loopback_socket(0, true);
        const auto socket =
            connect_to({"127.0.0.1", port_of(deaf.get())}, with(host.security, milliseconds(20)));
        REQUIRE_FALSE(socket);
        CHECK(socket.error().kind() == ErrorKind::kTimeout);
        CHECK(socket.error().message().find("TLS handshake") != std::string::npos);
    }
    SECTION("a cancel ends it at the sender") {
        const UniqueFd deaf = loopback_socket(0, true);
        std::stop_source stop;
        ConnectOptions options = with(host.security);
        options.stop = stop.get_token();
        Result<Socket> socket = Error("none");
        std::jthread sender([&] {
            socket = connect_to({"127.0.0.1", port_of(deaf.get())}, options);
        });
        stop.request_stop();
        sender.join();
        REQUIRE_FALSE(socket);
        CHECK(socket.error().kind() == ErrorKind::kCancelled);
    }
}

TEST_CASE("a sender that does not encrypt is told that the receiver does") {
    const Host host;
    const auto listener = listen_with(host.security);
    std::stop_source stop;
    std::jthread server([&] { static_cast<void>(listener->next(std::nullopt, stop.get_token())); });
    Socket sender = must(connect_to({"127.0.0.1", listener->port()}, with({})));
    must(sender.send(encode_hello({.role = ConnectionRole::kMain})));
    const auto channel = must(ControlChannel::create(std::move(sender)));
    const auto frame = must(channel->receive(kLong));
    stop.request_stop();
    REQUIRE(frame);
    CHECK(frame->type == FrameType::kRefuse);
    CHECK(decode_failure(frame->body).reason ==
          "this receiver takes encrypted connections only: give --tls-creds to the sender, too");
}

TEST_CASE("a sender that encrypts learns that the receiver does not") {
    const Host host;
    const auto listener = listen_with({});
    Connected main = connect_main(*listener, with(host.security));
    REQUIRE_FALSE(main.sender);
    CHECK(main.sender.error().kind() == ErrorKind::kRefused);
    CHECK(main.sender.error().message().find("the receiver does not use TLS") != std::string::npos);
}

TEST_CASE("certificates that are renewed while a receiver waits are used for the next sender") {
    const Host host;
    const std::string folder = host.files.folder.path();
    const auto listener = listen_with(host.security);
    {
        Connected main = connect_main(*listener, with(host.security));
        REQUIRE(main.sender);
    }
    SECTION("a new certificate") {
        host.pki.issue(folder, "server", {.subject = "renewed", .names = {"IP:127.0.0.1"}});
        const Connected main = connect_main(*listener, with(host.security));
        REQUIRE(main.sender);
        CHECK(main.sender->security().peer == "CN=renewed,O=Test");
    }
    SECTION("a key that every user may read") {
        const TestHost sender(host.pki);
        const Security of_sender{.tls = x509_endpoint(sender.folder.path())};
        REQUIRE(::chmod((folder + "/server-key.pem").c_str(), 0644) == 0);
        const Connected main = connect_main(*listener, with(of_sender));
        REQUIRE_FALSE(main.sender);
        CHECK(main.sender.error().message().find(
                  "the receiver cannot use its own TLS credentials") != std::string::npos);
        REQUIRE(::chmod((folder + "/server-key.pem").c_str(), 0600) == 0);
        CHECK(connect_main(*listener, with(of_sender)).sender);
    }
}

TEST_CASE("plaintext does not leave this host unless the user asked for it") {
    const Security none;
    const Security to_any{.plaintext_to_any_host = true};
    for (const char* host : {"192.0.2.1", "2001:db8::1", "0.0.0.0", "::"}) {
        CAPTURE(host);
        const Status refused = check_reach(none, {host, 4444});
        REQUIRE_FALSE(refused);
        CHECK(refused.error().kind() == ErrorKind::kUsage);
        CHECK(refused.error().message().find("--tls-creds none") != std::string::npos);
        must(check_reach(to_any, {host, 4444}));
    }
    for (const char* host : {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "some.name"}) {
        CAPTURE(host);
        must(check_reach(none, {host, 4444}));
    }
    const auto listener = Listener::create({"0.0.0.0", 0}, kLong);
    REQUIRE_FALSE(listener);
    CHECK(listener.error().kind() == ErrorKind::kUsage);
    must(Listener::create({"0.0.0.0", 0}, kLong, to_any));
    const auto socket = connect_to({"0.0.0.0", 1}, with(none));
    REQUIRE_FALSE(socket);
    CHECK(socket.error().kind() == ErrorKind::kUsage);
}

}  // namespace
}  // namespace migrate::transport
