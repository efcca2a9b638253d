// SPDX-License-Identifier: Apache-2.0
#include "transport/endpoint.hpp"

#include <arpa/inet.h>
#include <net/if.h>

#include "catch.hpp"
#include "tests/support/loopback.hpp"
#include "tests/support/must.hpp"

namespace migrate::transport {
namespace {

// A UDP socket that is bound to the address, or nothing if this host has no such address.
UniqueFd bound_to(const char* text, std::uint32_t zone) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_scope_id = zone;
    REQUIRE(::inet_pton(AF_INET6, text, &address.sin6_addr) == 1);
    UniqueFd fd(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!fd) return fd;
    // An address that no interface has can be bound, too.
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        fd.reset();
    return fd;
}

TEST_CASE("an endpoint's text is what --connect takes") {
    const UniqueFd v4 = loopback_socket(0, true);
    CHECK(must(Endpoint::own_of(v4.get())).text() ==
          "127.0.0.1:" + std::to_string(port_of(v4.get())));
    const UniqueFd v6 = bound_to("::1", 0);
    if (!v6) {
        WARN("this host has no IPv6; the case is not covered");
        return;
    }
    CHECK(must(Endpoint::own_of(v6.get())).text().starts_with("[::1]:"));
}

TEST_CASE("a link-local endpoint names its interface") {
    const std::uint32_t zone = ::if_nametoindex("lo");
    REQUIRE(zone != 0);
    const UniqueFd fd = bound_to("fe80::1234", zone);
    if (!fd) {
        WARN("this host has no IPv6; the case is not covered");
        return;
    }
    CHECK(must(Endpoint::own_of(fd.get())).text().starts_with("[fe80::1234%lo]:"));
}

}  // namespace
}  // namespace migrate::transport
