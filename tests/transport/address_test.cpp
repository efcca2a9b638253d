// SPDX-License-Identifier: Apache-2.0
#include "transport/address.hpp"

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::transport {
namespace {

TEST_CASE("addresses are read and written alike") {
    const auto check = [](const char* text, const char* host, std::uint16_t port) {
        const Address address = must(parse_address(text));
        CHECK(address.host == host);
        CHECK(address.port == port);
        CHECK(address.text() == text);
    };
    check("127.0.0.1:0", "127.0.0.1", 0);
    check("host.example:65535", "host.example", 65535);
    check("[::1]:4444", "::1", 4444);
    check("[fe80::1%eth0]:1", "fe80::1%eth0", 1);
}

TEST_CASE("a text that is not an address is a usage error") {
    for (const char* text :
         {"", ":", "host", "host:", ":4444", "[]:1", "host:65536", "host:-1", "host:+1", "host: 1",
          "host:1x", "::1:4444", "fe80::1", "host:99999999999999999999"}) {
        const auto address = parse_address(text);
        INFO(text);
        REQUIRE_FALSE(address);
        CHECK(address.error().kind() == ErrorKind::kUsage);
        CHECK(address.error().message().find("HOST:PORT") != std::string::npos);
    }
}

}  // namespace
}  // namespace migrate::transport
