// SPDX-License-Identifier: Apache-2.0
#include "engine/session_config.hpp"

#include <map>

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::engine {
namespace {

using std::chrono::milliseconds;
using transport::Compression;

// The settings a command line makes, with what the side cannot do without.
Settings settings_with(Side side, std::initializer_list<std::pair<const char*, const char*>> more) {
    Settings settings(side);
    if (side == Side::kSend) {
        must(settings.set("connect", "destination:4444"));
        must(settings.set("source", "anon:1M"));
    } else {
        must(settings.set("listen", "0.0.0.0:4444"));
        must(settings.set("sink", "null:"));
    }
    for (const auto& [key, text] : more) must(settings.set(key, text));
    return settings;
}

SendConfig send_config(std::initializer_list<std::pair<const char*, const char*>> more) {
    return must(make_send_config(settings_with(Side::kSend, more)));
}

RecvConfig recv_config(std::initializer_list<std::pair<const char*, const char*>> more) {
    return must(make_recv_config(settings_with(Side::kRecv, more)));
}

TEST_CASE("a sender's options arrive, each in its field") {
    const SendConfig config = send_config({{"connect", "[::1]:4321"},
                                           {"multifd-channels", "7"},
                                           {"zero-page-detection", "legacy"},
                                           {"zero-kernel", "scalar"},
                                           {"multifd-normal-page-ratio", "30"},
                                           {"multifd-packet-size", "64K"},
                                           {"multifd-compression", "zstd"},
                                           {"multifd-lz4-level", "9"},
                                           {"multifd-zstd-level", "13"},
                                           {"max-bandwidth", "5M/s"},
                                           {"skip-unpopulated", "off"},
                                           {"verify", "digest"},
                                           {"connect-timeout", "101ms"},
                                           {"handshake-timeout", "102ms"},
                                           {"io-timeout", "103ms"},
                                           {"reconnect-timeout", "104ms"}});
    REQUIRE(config.paths.size() == 1);
    CHECK(config.paths[0].route.remote.host == "::1");
    CHECK(config.paths[0].route.remote.port == 4321);
    CHECK(config.paths[0].max_bandwidth == 0);
    CHECK(config.negotiated.channels() == 7);
    CHECK(config.detection == ZeroPageDetection::kLegacy);
    CHECK(config.zero_kernel == "scalar");
    CHECK(config.normal_page_ratio == 30U);
    CHECK(config.negotiated.packet_bytes() == 64 * kKiB);
    CHECK(config.negotiated.compression() == Compression::kZstd);
    CHECK(config.compression_level == 13);
    CHECK(config.tunables.max_bandwidth == 5 * kMiB);
    CHECK_FALSE(config.skip_unpopulated);
    CHECK(config.negotiated.verify());
    CHECK(config.connect_timeout == milliseconds(101));
    CHECK(config.handshake_timeout == milliseconds(102));
    CHECK(config.io_timeout == milliseconds(103));
    CHECK(config.reconnect_timeout == milliseconds(104));
}

TEST_CASE("the options of DSA devices arrive, each in its field") {
    const SendConfig config = send_config({{"zero-page-detection", "dsa-accel"},
                                           {"accel-path", "softdsa:2"},
                                           {"accel-completion", "thread"},
                                           {"accel-timeout", "20ms"},
                                           {"accel-verify", "5"}});
    CHECK(config.detection == ZeroPageDetection::kDsaAccel);
    CHECK(config.accel.path == "softdsa:2");
    CHECK(config.accel.completion == CompletionModel::kThread);
    CHECK(config.accel.timeout == milliseconds(20));
    CHECK(config.accel.verify_every == 5);
    CHECK(send_config({}).accel.completion == CompletionModel::kInline);
    CHECK_FALSE(validate(settings_with(Side::kSend, {{"accel-path", "softdsa:2"}})));
}

TEST_CASE("a sender's defaults are the published ones") {
    const SendConfig config = send_config({});
    CHECK(config.negotiated.channels() == 2);
    CHECK(config.detection == ZeroPageDetection::kMultifd);
    CHECK(config.zero_kernel == "auto");
    CHECK_FALSE(config.normal_page_ratio);
    CHECK(config.negotiated.packet_bytes() == 512 * kKiB);
    CHECK(config.negotiated.compression() == Compression::kNone);
    CHECK(config.tunables.max_bandwidth == 0);
    CHECK(config.skip_unpopulated);
    CHECK_FALSE(config.negotiated.verify());
    CHECK(config.connect_timeout == milliseconds(10'000));
    CHECK(config.handshake_timeout == milliseconds(10'000));
    CHECK(config.io_timeout == milliseconds(30'000));
    CHECK(config.reconnect_timeout == milliseconds(60'000));
}

TEST_CASE("the level is that of the compression that was chosen") {
    const auto level_with = [](const char* method) {
        return send_config({{"multifd-compression", method},
                            {"multifd-lz4-level", "9"},
                            {"multifd-zstd-level", "13"}})
            .compression_level;
    };
    CHECK(level_with("lz4") == 9);
    CHECK(level_with("zstd") == 13);
}

TEST_CASE("a normal-page ratio of 0 is a ratio, off is none") {
    CHECK(send_config({{"multifd-normal-page-ratio", "0"}}).normal_page_ratio == 0U);
    CHECK(send_config({{"multifd-normal-page-ratio", "100"}}).normal_page_ratio == 100U);
    CHECK_FALSE(send_config({{"multifd-normal-page-ratio", "off"}}).normal_page_ratio);
}

TEST_CASE("the largest values of the option table fit the engine's fields") {
    const SendConfig config = send_config({{"multifd-channels", "255"},
                                           {"multifd-packet-size", "4M"},
                                           {"max-bandwidth", "1T"},
                                           {"io-timeout", "24h"}});
    CHECK(config.negotiated.channels() == kMaxChannels);
    CHECK(config.negotiated.packet_bytes() == kMaxPacketBytes);
    CHECK(config.tunables.max_bandwidth == 1024 * kGiB);
    CHECK(config.io_timeout == std::chrono::hours(24));
}

TEST_CASE("the engine knows every choice that the option table offers, by the same name") {
    for (const std::string_view name : choices_of(kOptions[find_option("zero-page-detection")])) {
        const std::string text(name);
        CHECK(name_of(send_config({{"zero-page-detection", text.c_str()}}).detection) == name);
    }
    for (const std::string_view name : choices_of(kOptions[find_option("multifd-compression")])) {
        const std::string text(name);
        CHECK(transport::name_of(
                  send_config({{"multifd-compression", text.c_str()}}).negotiated.compression()) ==
              name);
    }
}

TEST_CASE("a receiver's options arrive, each in its field") {
    const RecvConfig config = recv_config({{"listen", "127.0.0.1:0"},
                                           {"sink", "file:copy.mem"},
                                           {"port-file", "port.txt"},
                                           {"listen-timeout", "104ms"},
                                           {"handshake-timeout", "105ms"},
                                           {"io-timeout", "106ms"}});
    REQUIRE(config.listen.size() == 1);
    CHECK(config.listen[0].host == "127.0.0.1");
    CHECK(config.listen[0].port == 0);
    CHECK(config.sink == "file:copy.mem");
    CHECK(config.port_file == "port.txt");
    CHECK(config.listen_timeout == milliseconds(104));
    CHECK(config.handshake_timeout == milliseconds(105));
    CHECK(config.io_timeout == milliseconds(106));
}

TEST_CASE("a receiver waits for ever and tells no file its port unless it is told to") {
    const RecvConfig config = recv_config({});
    CHECK_FALSE(config.listen_timeout);
    CHECK(config.port_file.empty());
    CHECK(config.handshake_timeout == milliseconds(10'000));
    CHECK(config.io_timeout == milliseconds(30'000));
}

TEST_CASE("settings without an address are wrong usage and no configuration") {
    const auto send = make_send_config(Settings(Side::kSend));
    REQUIRE_FALSE(send);
    CHECK(send.error().kind() == ErrorKind::kUsage);
    const auto recv = make_recv_config(Settings(Side::kRecv));
    REQUIRE_FALSE(recv);
    CHECK(recv.error().kind() == ErrorKind::kUsage);
}

TEST_CASE("a receiver is not told to simulate a device: the sender says so for both") {
    const auto config =
        make_recv_config(settings_with(Side::kRecv, {{"devices", "file:net=/dev/null sim:vf"}}));
    REQUIRE_FALSE(config);
    CHECK(config.error().kind() == ErrorKind::kUsage);
    CHECK(message_of(config).find("device vf") != std::string::npos);
}

TEST_CASE("the way back goes by every option of the sender that may change") {
    const std::initializer_list<std::pair<const char*, const char*>> told{
        {"max-bandwidth", "3M"},        {"avail-switchover-bandwidth", "4M"},
        {"downtime-limit", "50ms"},     {"max-downtime", "2s"},
        {"auto-converge", "on"},        {"throttle-trigger-threshold", "40"},
        {"cpu-throttle-initial", "11"}, {"cpu-throttle-increment", "12"},
        {"max-cpu-throttle", "77"},     {"deadline", "90s"},
        {"on-deadline", "switch"},      {"stall-limit", "5s"},
        {"shorten-downtime", "off"}};
    const Settings settings = settings_with(Side::kSend, told);
    const auto options = options_for_way_back(settings);
    CHECK(options.size() == told.size());
    const Tunables back = must(tunables_for_way_back(options));
    CHECK(back.max_bandwidth == 3 * kMiB);
    CHECK(back.avail_switchover_bandwidth == 4 * kMiB);
    CHECK(back.downtime_limit == milliseconds(50));
    CHECK(back.max_downtime == milliseconds(2000));
    CHECK_FALSE(back.shorten_downtime);
    CHECK(back.auto_converge);
    CHECK(back.throttle_trigger_threshold == 40);
    CHECK(back.cpu_throttle_initial == 11);
    CHECK(back.cpu_throttle_increment == 12);
    CHECK(back.max_cpu_throttle == 77);
    CHECK(back.deadline == milliseconds(90'000));
    CHECK(back.on_deadline == OnDeadline::kSwitch);
    CHECK(back.stall_limit == milliseconds(5000));
}

TEST_CASE("the reported values of the options that may change are those that were given") {
    const Settings settings = settings_with(Side::kSend, {{"max-bandwidth", "3M"},
                                                          {"downtime-limit", "50ms"},
                                                          {"auto-converge", "on"},
                                                          {"throttle-trigger-threshold", "40"},
                                                          {"on-deadline", "switch"},
                                                          {"stall-limit", "0"},
                                                          {"shorten-downtime", "off"}});
    std::map<std::string, SettingValue> live;
    for (const auto& [key, value] : setting_values(settings)) {
        if (kOptions[find_option(key)].live) live.emplace(key, value);
    }
    const SettingValues values = tunable_values(make_tunables(settings));
    CHECK(std::map<std::string, SettingValue>(values.begin(), values.end()) == live);
}

TEST_CASE("only a value that is not allowed is an error in the options for the way back") {
    const Tunables back =
        must(tunables_for_way_back({{"source", "file:/etc/passwd"}, {"telepathy", "on"}}));
    CHECK(back.stall_limit == milliseconds(60'000));
    CHECK(message_of(tunables_for_way_back({{"stall-limit", "25h"}})).find("stall-limit") !=
          std::string::npos);
}

TEST_CASE("a wrong value never gets as far as a configuration") {
    const auto refused = [](Side side, const char* key, const char* text) {
        Settings settings = settings_with(side, {});
        INFO(key << " " << text);
        const Status status = settings.set(key, text);
        REQUIRE_FALSE(status);
        CHECK(status.error().kind() == ErrorKind::kUsage);
        CHECK(message_of(status).find(key) != std::string::npos);
    };
    for (const auto& [key, text] : std::initializer_list<std::pair<const char*, const char*>>{
             {"connect", "nowhere"},
             {"multifd-channels", "0"},
             {"multifd-channels", "256"},
             {"zero-page-detection", "telepathy"},
             {"zero-kernel", "mmx"},
             {"multifd-normal-page-ratio", "101"},
             {"multifd-packet-size", "5000"},
             {"multifd-packet-size", "8M"},
             {"multifd-compression", "gzip"},
             {"multifd-lz4-level", "13"},
             {"multifd-zstd-level", "21"},
             {"max-bandwidth", "2T"},
             {"skip-unpopulated", "maybe"},
             {"verify", "yes"},
             {"connect-timeout", "99ms"},
             {"handshake-timeout", "0"},
             {"io-timeout", "25h"},
             {"reconnect-timeout", "25h"}}) {
        refused(Side::kSend, key, text);
    }
    refused(Side::kRecv, "listen", "0.0.0.0:65536");
    refused(Side::kRecv, "listen-timeout", "-1");
    refused(Side::kRecv, "io-timeout", "soon");
}

}  // namespace
}  // namespace migrate::engine
