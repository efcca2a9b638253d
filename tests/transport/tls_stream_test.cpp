// SPDX-License-Identifier: Apache-2.0
// The classes above Stream over TLS, and what a stream of records owes them.
#include "transport/tls/tls_stream.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <thread>

#include "base/units.hpp"
#include "catch.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/noise.hpp"
#include "tests/transport/stream_cases.hpp"
#include "tests/transport/tls_pair.hpp"
#include "transport/control_channel.hpp"

namespace migrate::transport {
namespace {

using std::chrono::milliseconds;

// Made once: certificates take longer than a test.
HandshakePair connect_pair() {
    static const TestPki pki;
    static const TestHost host(pki);
    const auto client = x509_endpoint(host.folder.path());
    const auto server = x509_endpoint(host.folder.path());
    HandshakePair pair(*client, *server);
    must(pair.client_status);
    must(pair.server_status);
    return pair;
}

SocketPair make_tls_pair(milliseconds limit = kLong) { return connect_pair().sockets(limit); }

TEST_CASE("gathered parts arrive scattered over TLS, whatever their sizes") {
    SocketPair pair = make_tls_pair();
    CHECK(pair.near.security().is_encrypted());
    check_scattering(std::move(pair));
}

TEST_CASE("nothing that is sent over TLS is readable on the way") {
    HandshakePair pair = connect_pair();
    const UniqueFd wire(::dup(pair.fds.far.get()));
    auto [near, far] = pair.sockets();
    const std::string secret(200, 'S');
    must(near.send(std::as_bytes(std::span(secret))));
    std::string raw(4096, '\0');
    const ssize_t size = ::recv(wire.get(), raw.data(), raw.size(), MSG_PEEK);
    REQUIRE(size > 200);
    CHECK(raw.find("SSSS") == std::string::npos);
}

TEST_CASE("bytes that TLS has buffered are input, although the connection has none") {
    check_buffered_input(make_tls_pair());
}

TEST_CASE("the end of a TLS stream is told from a connection that was cut off") {
    std::vector<std::byte> buffer(4);
    SECTION("the peer ended it") {
        auto [near, far] = make_tls_pair();
        must(near.send(buffer));
        near.finish_sending();
        must(far.receive(buffer));
        CHECK(must(far.receive_first(buffer)) == Arrival::kClosed);
        CHECK(must(far.receive_first(buffer)) == Arrival::kClosed);
        // The other direction still works.
        must(far.send(buffer));
        must(near.receive(buffer));
    }
    SECTION("the connection was cut off") {
        auto [near, far] = make_tls_pair();
        near.shutdown();
        const auto arrival = far.receive_first(buffer);
        REQUIRE_FALSE(arrival);
        CHECK(arrival.error().kind() == ErrorKind::kLostConnection);
        CHECK(arrival.error().message().find("close_notify") != std::string::npos);
    }
}

TEST_CASE("a send to a peer that has ended its TLS stream and closed the connection fails") {
    std::vector<std::byte> buffer(4);
    auto [near, far] = make_tls_pair();
    {
        Socket gone = std::move(near);
        gone.finish_sending();
    }
    CHECK(must(far.receive_first(buffer)) == Arrival::kClosed);
    // The first one may reach the kernel's buffer; then the peer's host resets the connection.
    Status sent;
    while (sent) sent = far.send(buffer);
    CHECK(sent.error().kind() == ErrorKind::kLostConnection);
}

TEST_CASE("a wait over TLS ends with its limit, or with a shutdown") {
    std::vector<std::byte> buffer(4);
    SECTION("idle, or stalled in a packet") {
        check_idle_and_stalled(make_tls_pair(milliseconds(1)));
    }
    SECTION("a peer that takes nothing") {
        auto [near, far] = make_tls_pair(milliseconds(20));
        const std::vector<std::byte> content(64 * kMiB);
        const Status sent = near.send(content);
        REQUIRE_FALSE(sent);
        CHECK(sent.error().kind() == ErrorKind::kTimeout);
    }
    SECTION("shutdown") {
        auto [near, far] = make_tls_pair();
        const std::vector<std::byte> content(64 * kMiB);
        Status sent;
        std::jthread sender([&, &from = near] { sent = from.send(content); });
        std::jthread receiver([&, &to = near] { static_cast<void>(to.receive(buffer)); });
        near.shutdown();
        sender.join();
        receiver.join();
        CHECK_FALSE(sent);
    }
}

TEST_CASE("the main channel carries its frames over TLS") {
    const Error after = check_frames(make_tls_pair());
    CHECK(after.message().find("the peer closed the connection") != std::string::npos);
}

// One thread of each side sends and one receives, as on the main channel.
void exchange(Socket& one, Socket& other, std::size_t bytes, unsigned seed) {
    const auto there = noise(bytes, seed);
    const auto back = noise(bytes, seed + 1);
    std::vector<std::byte> arrived_there(bytes);
    std::vector<std::byte> arrived_back(bytes);
    Status status[4];
    {
        std::jthread a([&] { status[0] = one.send(there); });
        std::jthread b([&] { status[1] = other.receive(arrived_there); });
        std::jthread c([&] { status[2] = other.send(back); });
        std::jthread d([&] { status[3] = one.receive(arrived_back); });
    }
    for (const Status& one_status : status) must(one_status);
    CHECK((arrived_there == there));
    CHECK((arrived_back == back));
}

TEST_CASE("keys are renewed under load in both directions, and nothing is lost") {
    HandshakePair pair = connect_pair();
    Socket near = adopt(std::move(pair.fds.near));
    Socket far = adopt(std::move(pair.fds.far));
    const std::uint64_t records = GENERATE(std::uint64_t{1}, std::uint64_t{3}, std::uint64_t{64});
    near.encrypt(pair.client->take_stream(records), {.credentials = "x509"});
    far.encrypt(pair.server->take_stream(records), {.credentials = "x509"});
    exchange(near, far, 8 * kMiB + 5, 31);
}

// Takes minutes: it runs only if it is named. MIGRATE_TEST_GIB sets another amount.
TEST_CASE("64 GiB in each direction pass through one session with a new key for each MiB", "[.]") {
    constexpr std::uint64_t kPiece = 16 * kMiB;
    constexpr std::uint64_t kRecordsPerMib = 64;
    const char* const gib = std::getenv("MIGRATE_TEST_GIB");
    const std::uint64_t pieces = (gib == nullptr ? 64 : std::stoull(gib)) * kGiB / kPiece;
    HandshakePair pair = connect_pair();
    Socket near = adopt(std::move(pair.fds.near));
    Socket far = adopt(std::move(pair.fds.far));
    near.encrypt(pair.client->take_stream(kRecordsPerMib), {.credentials = "x509"});
    far.encrypt(pair.server->take_stream(kRecordsPerMib), {.credentials = "x509"});
    const std::array content{noise(kPiece, 34), noise(kPiece, 35)};
    const auto send_all = [pieces](Socket& socket, const std::vector<std::byte>& piece) -> Status {
        for (std::uint64_t i = 0; i < pieces; ++i) MIGRATE_TRY(socket.send(piece));
        return {};
    };
    const auto receive_all = [pieces](Socket& socket,
                                      const std::vector<std::byte>& piece) -> Status {
        std::vector<std::byte> arrived(piece.size());
        for (std::uint64_t i = 0; i < pieces; ++i) {
            MIGRATE_TRY(socket.receive(arrived));
            if (arrived != piece) return make_error("piece {} differs", i);
        }
        return {};
    };
    std::array<Status, 4> results;
    {
        std::jthread a([&] { results[0] = send_all(near, content[0]); });
        std::jthread b([&] { results[1] = receive_all(far, content[0]); });
        std::jthread c([&] { results[2] = send_all(far, content[1]); });
        std::jthread d([&] { results[3] = receive_all(near, content[1]); });
    }
    // The first failure ends the connection, and the others tell of that only.
    for (const Status& result : results) {
        if (!result) UNSCOPED_INFO(result.error().message());
    }
    CHECK(std::all_of(results.begin(), results.end(),
                      [](const Status& result) { return bool(result); }));
}

TEST_CASE("records that were changed, dropped, repeated or swapped on the way are never accepted") {
    HandshakePair pair = connect_pair();
    const UniqueFd sender_end(::dup(pair.fds.near.get()));
    const UniqueFd receiver_end(::dup(pair.fds.far.get()));
    auto [near, far] = pair.sockets(milliseconds(50));
    // Captures what the sender sends, and replaces it.
    const auto first = noise(1000, 41);
    const auto second = noise(1000, 42);
    const auto capture = [&] {
        std::string raw(4096, '\0');
        const ssize_t size = ::recv(receiver_end.get(), raw.data(), raw.size(), 0);
        raw.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
        return raw;
    };
    const auto inject = [&](std::string_view raw) {
        REQUIRE(::send(sender_end.get(), raw.data(), raw.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(raw.size()));
    };
    must(near.send(first));
    std::string one = capture();
    must(near.send(second));
    const std::string two = capture();
    std::vector<std::byte> back(1000);
    const auto change = GENERATE(0, 1, 2, 3, 4, 5, 6);
    CAPTURE(change);
    switch (change) {
        case 0:
            one[one.size() / 2] ^= 1;  // content
            break;
        case 1:
            one[one.size() - 1] ^= 1;  // tag
            break;
        case 2:
            one[0] ^= 1;  // type
            break;
        case 3:
            one[4] ^= 1;  // length: one byte more or less
            break;
        case 4:
            one = two;  // the first is missing
            break;
        case 5:
            one = two + one;  // swapped
            break;
        case 6:
            inject(one);
            must(far.receive(back));
            CHECK(back == first);  // and then the first again
            break;
        default:
            break;
    }
    inject(one + two);
    const Status received = far.receive(back);
    REQUIRE_FALSE(received);
    CHECK(received.error().kind() == ErrorKind::kProtocol);
    CHECK(received.error().message().find("damaged or changed on the way") != std::string::npos);
    CHECK_FALSE(far.receive(back));
}

TEST_CASE("memory that vanished is an error of a TLS stream, not a signal") {
    auto [near, far] = make_tls_pair();
    const UniqueFd file(::memfd_create("short", MFD_CLOEXEC));
    REQUIRE(::ftruncate(file.get(), 2 * kPageSize) == 0);
    const Mapping memory = must(Mapping::create({.size = 2 * kPageSize,
                                                 .protection = PROT_READ | PROT_WRITE,
                                                 .flags = MAP_SHARED,
                                                 .fd = file.get(),
                                                 .what = "a file"}));
    REQUIRE(::ftruncate(file.get(), kPageSize) == 0);
    const std::span<std::byte> bytes(memory.data(), 2 * kPageSize);
    SECTION("to send") {
        CHECK(message_of(near.send(bytes)).find("guest memory") != std::string::npos);
    }
    SECTION("to receive into") {
        const auto content = noise(2 * kPageSize, 51);
        must(near.send(content));
        const Status received = far.receive(bytes);
        REQUIRE_FALSE(received);
        CHECK(received.error().kind() == ErrorKind::kFault);
        // The stream cannot continue, but can be ended.
        CHECK_FALSE(far.receive(bytes.first(10)));
        far.finish_sending();
    }
}

}  // namespace
}  // namespace migrate::transport
