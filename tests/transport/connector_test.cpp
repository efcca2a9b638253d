// SPDX-License-Identifier: Apache-2.0
#include "transport/connector.hpp"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/wait.hpp"
#include "catch.hpp"
#include "tests/support/descriptor_limit.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/loopback.hpp"
#include "tests/support/tcp_pair.hpp"
#include "transport/host_interfaces.hpp"

namespace migrate::transport {
namespace {

using std::chrono::milliseconds;

// A listener whose queue of connections is full: further ones get no answer.
struct DeafListener {
    DeafListener() : fd(loopback_socket(0, true)) {
        REQUIRE(::listen(fd.get(), 0) == 0);
        for (int i = 0; i < 4; ++i) {
            UniqueFd one(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
            static_cast<void>(connect_to_loopback(one.get(), port()));
            waiting.push_back(std::move(one));
        }
    }
    std::uint16_t port() const { return port_of(fd.get()); }

    UniqueFd fd;
    std::vector<UniqueFd> waiting;
};

ConnectOptions options(milliseconds timeout = kLong, std::stop_token stop = {}) {
    return {timeout, StallLimits::both(kLong), std::move(stop)};
}

std::string own_name(const UniqueFd& fd) { return must(Endpoint::own_of(fd.get())).text(); }

std::uint16_t unused_port() { return port_of(loopback_socket(0, true).get()); }

TEST_CASE("a connection is made, blocking, by address and by name") {
    const UniqueFd listener = loopback_socket(0, true);
    for (const char* host : {"127.0.0.1", "localhost"}) {
        const Socket socket = must(connect_to({host, port_of(listener.get())}, options()));
        const int fd = SocketDescriptor::of(socket);
        CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
        CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
        CHECK(socket.peer_name() == own_name(listener));
    }
}

TEST_CASE("further connections lead where the first leads") {
    const UniqueFd listener = loopback_socket(0, true);
    const Socket first = must(connect_to({"127.0.0.1", port_of(listener.get())}, options()));
    const auto others = must(connect_alike(must(first.peer()), 10, options()));
    REQUIRE(others.size() == 10);
    for (const Socket& socket : others) CHECK(socket.peer_name() == first.peer_name());
    const auto nowhere = Endpoint::peer_of(listener.get());
    REQUIRE_FALSE(nowhere);
    CHECK(nowhere.error().kind() == ErrorKind::kLostConnection);
}

TEST_CASE("of several routes the first one that answers is taken") {
    const UniqueFd listener = loopback_socket(0, true);
    const std::uint16_t port = port_of(listener.get());
    const std::vector<Route> routes{{"127.0.0.1", unused_port()}, {"127.0.0.1", port}};
    const Answer answer = must(connect_to_first(routes, options()));
    CHECK(answer.route == 1);
    CHECK(answer.socket.peer_name() == own_name(listener));
    const std::vector<Route> both{{"127.0.0.1", port}, {"127.0.0.2", port}};
    CHECK(must(connect_to_first(both, options())).route == 0);
}

TEST_CASE("if no route answers in time, the reason of each is said") {
    const std::vector<Route> routes{{"127.0.0.1", unused_port()}, {"127.0.0.1", unused_port()}};
    const auto answer = connect_to_first(routes, options(milliseconds(100)));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().kind() == ErrorKind::kLostConnection);
    const std::string& message = answer.error().message();
    INFO(message);
    CHECK(message.find("within 100 ms (connect-timeout)") != std::string::npos);
    for (const Route& route : routes) CHECK(message.find(route.text()) != std::string::npos);
}

TEST_CASE("a route begins at the address or the interface of this host that it has") {
    const UniqueFd listener = loopback_socket(0, true);
    const Address to{"127.0.0.1", port_of(listener.get())};
    const Route from(to, {.address = "127.0.0.3", .device = {}});
    CHECK(must(must(connect_to(from, options())).own()).address() == "127.0.0.3");
    const Route by(to, {.address = {}, .device = "lo"});
    for (const Socket& socket : must(connect_alike(by, 3, options()))) {
        CHECK(interface_of(must(socket.own())) == "lo");
    }
    // An address for documents (RFC 5737).
    CHECK_FALSE(connect_to(Route(to, {.address = "192.0.2.1", .device = {}}), options()));
    CHECK_FALSE(connect_to(Route(to, {.address = {}, .device = "no-such-if"}), options()));
    const auto mixed = connect_to(Route(to, {.address = "::1", .device = {}}), options());
    REQUIRE_FALSE(mixed);
    CHECK(mixed.error().kind() == ErrorKind::kUsage);
    CHECK(mixed.error().message().find("127.0.0.1 has no IPv6 address") != std::string::npos);
}

TEST_CASE("a refused connection says where and what to check") {
    const std::uint16_t port = unused_port();
    const auto fd = connect_to({"127.0.0.1", port}, options(milliseconds(100)));
    REQUIRE_FALSE(fd);
    CHECK(fd.error().kind() == ErrorKind::kLostConnection);
    CHECK(fd.error().message().find("127.0.0.1:" + std::to_string(port)) != std::string::npos);
    CHECK(fd.error().message().find("refused for 100 ms (connect-timeout)") != std::string::npos);
}

TEST_CASE("a receiver that does not listen yet is waited for, and a stop ends that wait") {
    const UniqueFd later(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = loopback(0);
    REQUIRE(::bind(later.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    std::stop_source stop;
    std::optional<bool> connected;
    std::optional<ErrorKind> stopped;
    std::jthread waiting([&] {
        connected = static_cast<bool>(connect_to({"127.0.0.1", port_of(later.get())}, options()));
    });
    std::jthread cancelled([&] {
        const auto fd = connect_to({"127.0.0.1", unused_port()}, options(kLong, stop.get_token()));
        if (!fd) stopped = fd.error().kind();
    });
    // Most likely both have been refused by then; the results are the same if not.
    static_cast<void>(readable_within(later.get(), milliseconds(50)));
    REQUIRE(::listen(later.get(), 1) == 0);
    waiting.join();
    stop.request_stop();
    cancelled.join();
    CHECK(connected == true);
    CHECK(stopped == ErrorKind::kCancelled);
}

// Gives this thread a network of its own, whose connections all get `port` as their own port.
bool enter_network_with_one_port(std::uint16_t port) {
    if (::unshare(CLONE_NEWNET) != 0) return false;
    const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq loopback_up{};
    loopback_up.ifr_name[0] = 'l';
    loopback_up.ifr_name[1] = 'o';
    loopback_up.ifr_flags = IFF_UP;
    if (::ioctl(fd.get(), SIOCSIFFLAGS, &loopback_up) != 0) return false;
    std::ofstream range("/proc/sys/net/ipv4/ip_local_port_range");
    range << port << ' ' << port << std::flush;
    return range.good();
}

TEST_CASE("a connection to itself is no receiver") {
    std::optional<std::string> reason;
    bool entered = false;
    std::jthread([&] {
        constexpr std::uint16_t kPort = 40001;
        entered = enter_network_with_one_port(kPort);
        if (!entered) return;
        const auto fd = connect_to({"127.0.0.1", kPort}, options(milliseconds(100)));
        if (!fd) reason = fd.error().message();
    }).join();
    if (!entered) {
        WARN("skipped: this needs the right to create a network namespace (root)");
        return;
    }
    REQUIRE(reason);
    // The connection that was closed may keep the only port for a while.
    INFO(*reason);
    CHECK((reason->find("Connection refused") != std::string::npos ||
           reason->find("Cannot assign requested address") != std::string::npos));
}

TEST_CASE("further connections to a receiver that is gone fail, and none is kept") {
    UniqueFd listener = loopback_socket(0, true);
    const Socket first = must(connect_to({"127.0.0.1", port_of(listener.get())}, options()));
    const UniqueFd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    listener.reset();
    CHECK_FALSE(connect_alike(must(first.peer()), 4, options()));
}

TEST_CASE("connections beyond the limit on descriptors fail with that reason and its remedy") {
    const UniqueFd listener = loopback_socket(0, true);
    const Socket first = must(connect_to({"127.0.0.1", port_of(listener.get())}, options()));
    const Endpoint peer = must(first.peer());
    std::string message;
    DescriptorLimit eight(8);
    {
        const auto connections = connect_alike(peer, 32, options());
        if (!connections) message = connections.error().message();
    }
    eight.lift();
    REQUIRE(eight.holds());
    INFO(message);
    CHECK(message.find("Too many open files (raise the limit ulimit -n)") != std::string::npos);
    CHECK(message.find("is `migrate recv` listening") == std::string::npos);
}

TEST_CASE("a link-local address without its interface is refused with the way to write it") {
    const auto fd = connect_to({"fe80::1", 4444}, options(milliseconds(100)));
    REQUIRE_FALSE(fd);
    const std::string& message = fd.error().message();
    INFO(message);
    // A host without IPv6 has another reason.
    if (message.find("Invalid argument") == std::string::npos) return;
    CHECK(message.find("[fe80::1%eth0]:4444") != std::string::npos);
}

TEST_CASE("a host that does not answer is given up in time") {
    const DeafListener deaf;
    const auto fd = connect_to({"127.0.0.1", deaf.port()}, options(milliseconds(20)));
    REQUIRE_FALSE(fd);
    CHECK(fd.error().kind() == ErrorKind::kTimeout);
    CHECK(fd.error().message().find("connect-timeout") != std::string::npos);
}

TEST_CASE("stop ends an attempt, before and during it") {
    const DeafListener deaf;
    std::stop_source stop;
    std::optional<ErrorKind> kind;
    std::jthread connecting([&] {
        const auto fd = connect_to({"127.0.0.1", deaf.port()}, options(kLong, stop.get_token()));
        if (!fd) kind = fd.error().kind();
    });
    stop.request_stop();
    connecting.join();
    CHECK(kind == ErrorKind::kCancelled);
    const auto again = connect_to({"127.0.0.1", deaf.port()}, options(kLong, stop.get_token()));
    REQUIRE_FALSE(again);
    CHECK(again.error().kind() == ErrorKind::kCancelled);
}

}  // namespace
}  // namespace migrate::transport
