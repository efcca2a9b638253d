// SPDX-License-Identifier: Apache-2.0
#include "engine/path_config.hpp"

#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "engine/report/report.hpp"
#include "engine/report/report_members.hpp"
#include "engine/send/paths.hpp"
#include "tests/support/must.hpp"
#include "tests/support/negotiated.hpp"

namespace migrate::engine {
namespace {

using Catch::Matchers::Contains;
using Numbers = std::vector<std::uint16_t>;
using Pairs = std::initializer_list<std::pair<const char*, const char*>>;

Settings send_settings(Pairs pairs) {
    Settings settings(Side::kSend);
    for (const auto& [key, text] : pairs) must(settings.set(key, text));
    return settings;
}

std::vector<PathConfig> paths(Pairs pairs) { return must(make_paths(send_settings(pairs))); }

std::string refusal(Pairs pairs) {
    const auto made = make_paths(send_settings(pairs));
    REQUIRE_FALSE(made);
    CHECK(made.error().kind() == ErrorKind::kUsage);
    return made.error().message();
}

TEST_CASE("the paths are those of connect, and then those of path") {
    const auto all = paths({{"connect", "a:1 [::1]:2"},
                            {"path",
                             "remote=c:3,local=10.0.0.1,channels=2,max-bandwidth=200Mbit/s "
                             "remote=d:4,dev=eth1"},
                            {"multifd-channels", "8"}});
    REQUIRE(all.size() == 4);
    CHECK(all[0].route.text() == "a:1");
    CHECK(all[1].route.text() == "[::1]:2");
    CHECK(all[2].route.text() == "c:3 from 10.0.0.1");
    CHECK(all[2].channels == 2);
    CHECK(all[2].max_bandwidth == 25'000'000);
    CHECK(all[3].route.text() == "d:4 by eth1");
    CHECK_FALSE(all[3].channels);
    CHECK(paths_text(all) == "a:1 [::1]:2 c:3 from 10.0.0.1 d:4 by eth1");
    CHECK(divide_channels(all, 8) == Numbers{2, 2, 2, 2});
}

TEST_CASE("a path's mistakes are refused, each with its reason") {
    CHECK_THAT(refusal({{"path", "remote=a:1,local=10.0.0.1,dev=eth0"}}),
               Contains("local and dev exclude each other"));
    CHECK_THAT(refusal({{"path", "remote=a:1,local=here"}}),
               Contains("option path: local: 'here' is not an IPv4 or IPv6 address"));
    CHECK_THAT(refusal({{"path", "remote=10.0.0.2:1,local=::1"}}),
               Contains("::1 and 10.0.0.2 are not both IPv4 or both IPv6 addresses"));
    CHECK_THAT(refusal({{"connect", "a:1 a:1"}}), Contains("the paths 1 and 2 are the same (a:1)"));
    CHECK_THAT(refusal({{"connect", "a:1 b:1"}, {"path", "remote=b:1,channels=1"}}),
               Contains("the paths 2 and 3 are the same (b:1)"));
    CHECK_THAT(refusal({{"connect", "a:1 b:1"}, {"multifd-channels", "1"}}),
               Contains("the paths need 2 channels, and multifd-channels is 1"));
    CHECK_THAT(
        refusal({{"connect", "a:1"}, {"path", "remote=b:1,channels=4"}, {"multifd-channels", "4"}}),
        Contains("the paths need 5 channels, and multifd-channels is 4"));
    CHECK_THAT(refusal({{"path", "remote=a:1,channels=2 remote=b:1,channels=1"},
                        {"multifd-channels", "4"}}),
               Contains("the paths have 3 channels together, and multifd-channels is 4"));
    CHECK_THAT(refusal({{"connect", "a:1 b:1 c:1"}}),
               Contains("give multifd-channels a number, at least 3"));
    CHECK_THAT(refusal({{"path", "remote=a:1,channels=2"}}),
               Contains("give multifd-channels a number, at least 2"));
}

TEST_CASE("equal addresses are different paths if this host's end differs") {
    CHECK(paths({{"connect", "a:1 a:2"}}).size() == 2);
    CHECK(paths({{"path", "remote=a:1,local=10.0.0.1 remote=a:1,local=10.0.0.2"}}).size() == 2);
    CHECK(paths({{"connect", "a:1"}, {"path", "remote=a:1,dev=eth1"}}).size() == 2);
}

TEST_CASE("paths without a number of channels share what the others leave") {
    const auto all = paths(
        {{"connect", "a:1 b:1"}, {"path", "remote=c:1,channels=3"}, {"multifd-channels", "8"}});
    CHECK(divide_channels(all, 8) == Numbers{3, 2, 3});
    CHECK(divide_channels(all, 5) == Numbers{1, 1, 3});
    CHECK(divide_channels(paths({{"connect", "a:1"}}), 2) == Numbers{2});
}

TEST_CASE("channels of the paths alternate in the order of their ids") {
    CHECK(interleave(Numbers{2, 2}) == Numbers{0, 1, 0, 1});
    CHECK(interleave(Numbers{4, 2}) == Numbers{0, 0, 1, 0, 0, 1});
    CHECK(interleave(Numbers{3}) == Numbers{0, 0, 0});
    CHECK(interleave(Numbers{0, 2}) == Numbers{1, 1});
    CHECK(interleave(Numbers{}).empty());
    for (const std::uint16_t one : interleave(Numbers{200, 55})) CHECK(one < 2);
}

TEST_CASE("an address or an interface that this host lacks is refused with the path") {
    const auto message = [](const char* path) {
        const Status checked = check_paths(paths({{"path", path}, {"multifd-channels", "4"}}));
        REQUIRE_FALSE(checked);
        CHECK(checked.error().kind() == ErrorKind::kUsage);
        return checked.error().message();
    };
    // An address for documents (RFC 5737).
    CHECK_THAT(message("remote=127.0.0.1:1,local=192.0.2.1"),
               Contains("path 127.0.0.1:1: this host does not have the address 192.0.2.1"));
    CHECK_THAT(message("remote=127.0.0.1:1,dev=no-such-if"),
               Contains("this host has no network interface 'no-such-if'"));
    must(check_paths(paths({{"path", "remote=a:1,dev=lo remote=a:1,local=127.0.0.1"}})));
}

TEST_CASE("several addresses to listen on are kept in their order") {
    Settings settings(Side::kRecv);
    must(settings.set("listen", "127.0.0.1:0 [::1]:5"));
    const auto addresses = must(make_listen_addresses(settings));
    REQUIRE(addresses.size() == 2);
    CHECK(addresses[0].text() == "127.0.0.1:0");
    CHECK(addresses[1].text() == "[::1]:5");
}

TEST_CASE("paths begin with the main channel's, and count the channels that they are to have") {
    SendConfig config;
    config.negotiated = negotiated({{"multifd-channels", "5"}});
    config.paths = paths({{"connect", "a:1 b:1"},
                          {"path", "remote=c:1,channels=1,max-bandwidth=1M/s"},
                          {"multifd-channels", "5"}});
    Paths all(config);
    CHECK(all.count() == 3);
    CHECK(all.in_order() == Numbers{0, 1, 2});
    CHECK(all.wanted(0) == 2);
    CHECK(all.wanted(2) == 1);
    CHECK(all.all_wanted() == 5);
    all.want_another(1);
    CHECK(all.wanted(1) == 3);
    CHECK(all.pacer(0) == nullptr);
    CHECK(all.pacer(2) != nullptr);
    const auto report = all.report();
    REQUIRE(report.size() == 3);
    CHECK(report[0].main);
    CHECK_FALSE(report[1].main);
    CHECK(report[2].remote == "c:1");
    CHECK(report[2].max_bandwidth == 1024 * 1024);
}

TEST_CASE("the report of the paths has their figures, as JSON and as text") {
    Report report;
    report.side = "send";
    report.status = MigrationStatus::kCompleted;
    report.peer = "10.0.0.2:4444";
    report.total_time = std::chrono::milliseconds(1100);
    report.setup_time = std::chrono::milliseconds(100);
    report.paths = {{.remote = "10.0.0.2:4444",
                     .local = "10.0.0.1",
                     .interface_name = "eth0",
                     .main = true,
                     .channels = 4,
                     .bytes = 50'000'000,
                     .retransmits = 3,
                     .round_trip = std::chrono::microseconds(250)},
                    {.remote = "10.0.1.2:4444",
                     .channels_lost = 2,
                     .bytes = 25'000'000,
                     .max_bandwidth = 25'000'000}};
    const Json all = Json::parse(to_json(report)).at("paths");
    REQUIRE(all.size() == 2);
    CHECK(all[0].at("remote") == "10.0.0.2:4444");
    CHECK(all[0].at("local") == "10.0.0.1");
    CHECK(all[0].at("interface") == "eth0");
    CHECK(all[0].at("main") == true);
    CHECK(all[0].at("channels") == 4);
    CHECK(all[0].at("mbps") == 400.0);
    CHECK(all[0].at("retransmits") == 3);
    CHECK(all[0].at("round-trip-us") == 250);
    CHECK_FALSE(all[0].contains("max-bandwidth"));
    CHECK_FALSE(all[1].contains("local"));
    CHECK_FALSE(all[1].contains("round-trip-us"));
    CHECK(all[1].at("channels-lost") == 2);
    CHECK(all[1].at("mbps") == 200.0);
    CHECK(all[1].at("max-bandwidth") == 25'000'000);
    CHECK_THAT(to_text(report),
               Contains("path 10.0.0.2:4444: from 10.0.0.1 (eth0), main channel, 4 channels, "
                        "50000000 bytes, 400.00 mbps, 3 retransmits, round trip 250 us\n") &&
                   Contains("path 10.0.1.2:4444: 0 channels (2 lost), 25000000 bytes, 200.00 mbps, "
                            "0 retransmits, round trip unknown, max-bandwidth 25000000 bytes/s\n"));
}

}  // namespace
}  // namespace migrate::engine
