// SPDX-License-Identifier: Apache-2.0
#include "qmp/unix_address.hpp"

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::qmp {
namespace {

TEST_CASE("unix:PATH names a path") {
    CHECK(std::string(must(parse_unix_address("unix:/tmp/q")).sun_path) == "/tmp/q");
    const std::string longest(sizeof(sockaddr_un::sun_path) - 1, 'x');
    CHECK(must(parse_unix_address("unix:" + longest)).sun_path == longest);
}

TEST_CASE("a text that is not unix:PATH is refused with the right form") {
    for (const char* text : {"", "unix:", "/tmp/q", "tcp:localhost:4444", "stdio", "UNIX:/x"}) {
        const auto address = parse_unix_address(text);
        REQUIRE_FALSE(address);
        CHECK(address.error().kind() == ErrorKind::kUsage);
        CHECK(message_of(address).find("unix:PATH") != std::string::npos);
    }
    CHECK_FALSE(parse_unix_address(std::string_view("unix:/x\0y", 9)));
}

TEST_CASE("QEMU's options are refused, not ignored") {
    const auto address = parse_unix_address("unix:/tmp/q,server=on,wait=off");
    REQUIRE_FALSE(address);
    CHECK(address.error().kind() == ErrorKind::kUsage);
    CHECK(message_of(address).find("write unix:/tmp/q without ',server=on,wait=off'") !=
          std::string::npos);
}

TEST_CASE("a path that fits no socket address is refused with the limit") {
    const auto address =
        parse_unix_address("unix:" + std::string(sizeof(sockaddr_un::sun_path), 'x'));
    REQUIRE_FALSE(address);
    CHECK(address.error().kind() == ErrorKind::kUsage);
    CHECK(message_of(address).find("107") != std::string::npos);
}

}  // namespace
}  // namespace migrate::qmp
