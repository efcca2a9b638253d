// SPDX-License-Identifier: Apache-2.0
#include "base/config/settings.hpp"

#include <type_traits>

#include "catch.hpp"

using namespace migrate;

namespace {

template <FixedString Key>
constexpr bool kCompiles = requires(const Settings& settings) {
    settings.get<Key>();
};
static_assert(kCompiles<"multifd-channels">);
static_assert(!kCompiles<"multifd-chanels">, "a mistyped key must not compile");
static_assert(!kCompiles<"">);

template <FixedString Key>
using TypeOf = decltype(std::declval<const Settings&>().get<Key>());
static_assert(std::is_same_v<TypeOf<"multifd-channels">, std::uint64_t>);
static_assert(std::is_same_v<TypeOf<"multifd-packet-size">, std::uint64_t>);
static_assert(std::is_same_v<TypeOf<"max-bandwidth">, std::uint64_t>);
static_assert(std::is_same_v<TypeOf<"io-timeout">, std::uint64_t>);
static_assert(std::is_same_v<TypeOf<"skip-unpopulated">, bool>);
static_assert(std::is_same_v<TypeOf<"connect">, const std::string&>);
static_assert(std::is_same_v<TypeOf<"source">, const std::string&>);
static_assert(std::is_same_v<TypeOf<"verify">, const std::string&>);

std::string message(const Status& status) {
    REQUIRE_FALSE(status);
    CHECK(status.error().kind() == ErrorKind::kUsage);
    return status.error().message();
}

Settings with(Side side, std::initializer_list<std::pair<const char*, const char*>> values) {
    Settings settings(side);
    for (const auto& [key, text] : values) REQUIRE(settings.set(key, text));
    return settings;
}

}  // namespace

TEST_CASE("settings begin with the defaults that are published") {
    const Settings settings(Side::kSend);
    CHECK(settings.get<"multifd-channels">() == kAutoChannels);
    CHECK(settings.get<"multifd-packet-size">() == 524288);
    CHECK(settings.get<"zero-page-detection">() == "multifd");
    CHECK(settings.get<"zero-kernel">() == "auto");
    CHECK(settings.get<"multifd-normal-page-ratio">() == kNormalPageRatioOff);
    CHECK(settings.get<"multifd-compression">() == "none");
    CHECK(settings.get<"multifd-lz4-level">() == 1);
    CHECK(settings.get<"multifd-zstd-level">() == 1);
    CHECK(settings.get<"max-bandwidth">() == 0);
    CHECK(settings.get<"skip-unpopulated">());
    CHECK(settings.get<"verify">() == "none");
    CHECK(settings.get<"connect-timeout">() == 10'000);
    CHECK(settings.get<"handshake-timeout">() == 10'000);
    CHECK(settings.get<"io-timeout">() == 30'000);
    CHECK(settings.get<"listen-timeout">() == 0);
    CHECK(settings.get<"progress">() == "auto");
    CHECK(settings.get<"log-level">() == "info");
    CHECK(settings.get<"stats">().empty());
    CHECK(settings.get<"source">().empty());
}

TEST_CASE("a setting takes the value of its text") {
    const Settings settings = with(Side::kSend, {{"multifd-channels", "8"},
                                                 {"skip-unpopulated", "off"},
                                                 {"max-bandwidth", "1G"},
                                                 {"io-timeout", "500ms"},
                                                 {"verify", "digest"},
                                                 {"source", "anon:1G,fill=mixed:50"}});
    CHECK(settings.get<"multifd-channels">() == 8);
    CHECK_FALSE(settings.get<"skip-unpopulated">());
    CHECK(settings.get<"max-bandwidth">() == std::uint64_t{1} << 30);
    CHECK(settings.get<"io-timeout">() == 500);
    CHECK(settings.get<"verify">() == "digest");
    CHECK(settings.get<"source">() == "anon:1G,fill=mixed:50");
}

TEST_CASE("a refused value leaves the setting as it was") {
    Settings settings = with(Side::kSend, {{"multifd-channels", "8"}});
    CHECK(message(settings.set("multifd-channels", "300")) ==
          "option multifd-channels: 300 is out of range 1 … 255 or auto");
    CHECK(settings.get<"multifd-channels">() == 8);
}

TEST_CASE("settings refuse unknown options and those of the other side") {
    Settings settings(Side::kRecv);
    CHECK(message(settings.set("listn", "x")) == "unknown option 'listn': did you mean 'listen'?");
    CHECK(message(settings.set("source", "x")) ==
          "option source belongs to 'migrate send', not to 'migrate recv'");
}

TEST_CASE("a flag wins over the file and the file over the default, whichever is set first") {
    Settings settings(Side::kSend);
    const std::size_t index = option_index<"multifd-channels">();
    CHECK(settings.origin(index) == Origin::kDefault);
    REQUIRE(settings.set("multifd-channels", "4", Origin::kFile));
    CHECK(settings.get<"multifd-channels">() == 4);
    REQUIRE(settings.set("multifd-channels", "8", Origin::kFlag));
    CHECK(settings.get<"multifd-channels">() == 8);
    REQUIRE(settings.set("multifd-channels", "16", Origin::kFile));
    CHECK(settings.get<"multifd-channels">() == 8);
    CHECK(settings.origin(index) == Origin::kFlag);
    // A value that has no effect must still be right.
    CHECK_FALSE(settings.set("multifd-channels", "0", Origin::kFile));
}

TEST_CASE("validation names every required option that is missing") {
    CHECK(message(validate(Settings(Side::kSend))) ==
          "'migrate send' needs --connect HOST:PORT and --source SOURCE");
    CHECK(message(validate(with(Side::kRecv, {{"sink", "anon:"}}))) ==
          "'migrate recv' needs --listen HOST:PORT");
    CHECK(message(validate(with(Side::kRecv, {{"listen", "a:1"}, {"sink", ""}}))) ==
          "'migrate recv' needs --sink SINK");
    CHECK(validate(with(Side::kRecv, {{"listen", "a:0"}, {"sink", "anon:"}})));
    CHECK(validate(with(Side::kSend, {{"connect", "a:1"}, {"source", "anon:1G"}})));
    CHECK(validate(with(Side::kSend, {{"path", "remote=a:1"}, {"source", "anon:1G"}})));
}

TEST_CASE("several addresses are refused where there can be one only") {
    CHECK(validate(with(Side::kRecv, {{"listen", "a:1 b:2"}, {"sink", "anon:"}})));
    CHECK(validate(with(Side::kRecv, {{"listen", "systemd"}, {"sink", "anon:"}})));
    CHECK(message(validate(with(Side::kRecv, {{"listen", "systemd a:1"}, {"sink", "anon:"}})))
              .starts_with("listen=systemd takes the socket"));
    CHECK(
        message(validate(with(Side::kRecv,
                              {{"listen", "systemd"}, {"listen-mptcp", "on"}, {"sink", "anon:"}})))
            .starts_with("listen-mptcp has no effect with listen=systemd"));
    const Settings there_and_back = with(
        Side::kSend,
        {{"connect", "a:1"}, {"path", "remote=b:1"}, {"source", "workload:1M"}, {"repeat", "1"}});
    CHECK(message(validate(there_and_back)).starts_with("repeat and several paths"));
}
