// SPDX-License-Identifier: Apache-2.0
#include "cli/config_file.hpp"

#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "cli_test_support.hpp"

using namespace migrate;
using namespace migrate::cli;
using namespace migrate::cli::test;

namespace {

Settings loaded(Side side, std::string_view json) {
    const TemporaryFile file(json);
    Settings settings(side);
    const Status status = load_config_file(file.path(), settings);
    INFO(json);
    INFO((status ? std::string() : status.error().message()));
    REQUIRE(status);
    return settings;
}

// The error's message, without the file's name in front.
std::string error_of(Side side, std::string_view json) {
    const TemporaryFile file(json);
    Settings settings(side);
    const Status status = load_config_file(file.path(), settings);
    INFO(json);
    REQUIRE_FALSE(status);
    CHECK(status.error().kind() == ErrorKind::kUsage);
    const std::string& message = status.error().message();
    REQUIRE(message.starts_with(file.path() + ": "));
    return message.substr(file.path().size() + 2);
}

}  // namespace

TEST_CASE("a configuration file holds numbers, strings and booleans as they suit the option") {
    const Settings settings = loaded(Side::kSend, R"({
        // Comments are welcome,
        "multifd-channels": 8, /* of either kind */
        "multifd-packet-size": 1048576,
        "max-bandwidth": "100M",
        "io-timeout": "2min",
        "connect-timeout": 500,
        "skip-unpopulated": false,
        "multifd-normal-page-ratio": "off",
        "multifd-zstd-level": "3",
        "verify": "digest",
        "progress": true,
        "source": "anon:1G"
    })");
    CHECK(settings.get<"multifd-channels">() == 8);
    CHECK(settings.get<"multifd-packet-size">() == kMiB);
    CHECK(settings.get<"max-bandwidth">() == 100 * kMiB);
    CHECK(settings.get<"io-timeout">() == 120'000);
    CHECK(settings.get<"connect-timeout">() == 500);
    CHECK_FALSE(settings.get<"skip-unpopulated">());
    CHECK(settings.get<"multifd-normal-page-ratio">() == kNormalPageRatioOff);
    CHECK(settings.get<"multifd-zstd-level">() == 3);
    CHECK(settings.get<"verify">() == "digest");
    CHECK(settings.get<"progress">() == "on");
    CHECK(settings.get<"source">() == "anon:1G");
    CHECK(settings.origin(option_index<"verify">()) == Origin::kFile);
    CHECK(settings.origin(option_index<"stats">()) == Origin::kDefault);
}

TEST_CASE("an option of several words may be a list in a configuration file") {
    for (const char* value : {R"(["dsa:/dev/dsa/wq0.0", "dsa:/dev/dsa/wq1.0"])",
                              R"("dsa:/dev/dsa/wq0.0 dsa:/dev/dsa/wq1.0")"}) {
        const Settings settings =
            loaded(Side::kSend, std::string(R"({"accel-path": )") + value + "}");
        CHECK(settings.get<"accel-path">() == "dsa:/dev/dsa/wq0.0 dsa:/dev/dsa/wq1.0");
    }
    CHECK(loaded(Side::kSend, R"({"accel-path": []})").get<"accel-path">().empty());
    CHECK(
        loaded(Side::kRecv, R"({"tls-authz": ["CN=a?b,*", "spiffe://x/*"]})").get<"tls-authz">() ==
        "CN=a?b,* spiffe://x/*");
    for (const char* value : {R"([1])", R"(["a b"])", R"([["a"]])"}) {
        CHECK(error_of(Side::kSend, std::string(R"({"accel-path": )") + value + "}") ==
              "option accel-path: the list may hold strings without blanks only");
    }
    CHECK(error_of(Side::kSend, R"({"source": ["anon:1M"]})") ==
          "option source: the value must be a string");
}

TEST_CASE("a switch in a configuration file may also be a word") {
    CHECK_FALSE(loaded(Side::kSend, R"({"skip-unpopulated": "off"})").get<"skip-unpopulated">());
    CHECK(loaded(Side::kSend, R"({"skip-unpopulated": true})").get<"skip-unpopulated">());
}

TEST_CASE("one configuration file serves both commands by its sections") {
    constexpr std::string_view kJson = R"({
        "io-timeout": "10s",
        "stats": "common",
        "send": {"connect": "a:1", "source": "anon:1G", "stats": "of the sender"},
        "recv": {"listen": "a:1", "sink": "anon:", "io-timeout": "5s"}
    })";
    const Settings send = loaded(Side::kSend, kJson);
    CHECK(send.get<"connect">() == "a:1");
    CHECK(send.get<"io-timeout">() == 10'000);
    CHECK(send.get<"stats">() == "of the sender");
    CHECK(validate(send));
    const Settings recv = loaded(Side::kRecv, kJson);
    CHECK(recv.get<"sink">() == "anon:");
    CHECK(recv.get<"io-timeout">() == 5'000);
    CHECK(recv.get<"stats">() == "common");
    CHECK(validate(recv));
}

TEST_CASE("a section wins over the top level wherever it stands") {
    CHECK(loaded(Side::kSend, R"({"send": {"stats": "a"}, "stats": "b"})").get<"stats">() == "a");
    CHECK(loaded(Side::kSend, R"({"stats": "b", "send": {"stats": "a"}})").get<"stats">() == "a");
}

TEST_CASE("an empty object is a configuration") {
    CHECK(loaded(Side::kSend, "{}").get<"multifd-channels">() == kAutoChannels);
    CHECK(loaded(Side::kRecv, R"({"send": {}, "recv": {}})").get<"sink">().empty());
}

TEST_CASE("the address of a schema is no option") {
    const TemporaryFile file(R"({"$schema": "/usr/share/migrate/config.schema.json"})");
    Settings settings(Side::kSend);
    CHECK(load_config_file(file.path(), settings));
    const TemporaryFile wrong(R"({"$schema": 7})");
    CHECK_FALSE(load_config_file(wrong.path(), settings));
}

TEST_CASE("a key of the other command at the top level is refused with its place") {
    CHECK(error_of(Side::kSend, R"({"listen": "a:1"})") ==
          "option listen belongs to 'migrate recv': put it under \"recv\": { … }");
    CHECK(error_of(Side::kRecv, R"({"multifd-channels": 8})") ==
          "option multifd-channels belongs to 'migrate send': put it under \"send\": { … }");
    CHECK(error_of(Side::kSend, R"({"send": {"sink": "anon:"}})") ==
          "in \"send\": option sink belongs to 'migrate recv', not to 'migrate send'");
}

TEST_CASE("the section of the other command is checked as well") {
    CHECK(error_of(Side::kRecv, R"({"send": {"multifd-channels": 300}})") ==
          "in \"send\": option multifd-channels: 300 is out of range 1 … 255 or auto");
    CHECK(error_of(Side::kSend, R"({"recv": {"lisen": "a:1"}})") ==
          "in \"recv\": unknown option 'lisen': did you mean 'listen'?");
    CHECK(error_of(Side::kSend, R"({"recv": 3})") == "\"recv\" must be an object { … }");
    CHECK(error_of(Side::kSend, R"({"send": []})") == "\"send\" must be an object { … }");
}

TEST_CASE("an unknown key is refused with the nearest one") {
    CHECK(error_of(Side::kSend, R"({"multifd-chanels": 8})") ==
          "unknown option 'multifd-chanels': did you mean 'multifd-channels'?");
    CHECK(contains(error_of(Side::kSend, R"({"": 8})"), "unknown option ''"));
    CHECK(contains(error_of(Side::kSend, R"({"send": {"send": {}}})"), "unknown option 'send'"));
}

TEST_CASE("a key that is set twice is refused, in a section too") {
    CHECK(error_of(Side::kSend, R"({"stats": "a", "stats": "a"})") ==
          "'stats' is set twice in the same object");
    CHECK(error_of(Side::kSend, R"({"recv": {"sink": "a", "events": "c", "sink": "b"}})") ==
          "'sink' is set twice in the same object");
    CHECK(error_of(Side::kSend, R"({"send": {}, "send": {}})") ==
          "'send' is set twice in the same object");
}

TEST_CASE("a value of the wrong kind is refused") {
    CHECK(error_of(Side::kSend, R"({"source": 5})") == "option source: the value must be a string");
    CHECK(error_of(Side::kSend, R"({"verify": true})") ==
          "option verify: the value must be a string");
    CHECK(contains(error_of(Side::kSend, R"({"skip-unpopulated": 1})"), "must be true, false"));
    CHECK(contains(error_of(Side::kSend, R"({"multifd-channels": true})"), "must be a number"));
    for (const std::string_view value : {"null", "[]", "{}", "[8]"}) {
        const std::string json = fmt::format(R"({{"multifd-channels": {}}})", value);
        CHECK(contains(error_of(Side::kSend, json), "option multifd-channels: the value must be"));
    }
}

TEST_CASE("a number that is not allowed is refused as it stands in the file") {
    CHECK(error_of(Side::kSend, R"({"multifd-channels": 300})") ==
          "option multifd-channels: 300 is out of range 1 … 255 or auto");
    CHECK(error_of(Side::kSend, R"({"multifd-channels": -1})") ==
          "option multifd-channels: '-1' is not a whole number");
    CHECK(error_of(Side::kSend, R"({"multifd-channels": 2.5})") ==
          "option multifd-channels: '2.5' is not a whole number");
    CHECK(contains(error_of(Side::kSend, R"({"max-bandwidth": 1e300})"), "max-bandwidth"));
    CHECK(contains(error_of(Side::kSend, R"({"max-bandwidth": 1e999})"), "not valid JSON"));
    CHECK(contains(error_of(Side::kSend, R"({"multifd-channels": 18446744073709551616})"),
                   "multifd-channels"));
    CHECK(contains(error_of(Side::kSend, R"({"stats": "a\u0000b"})"), "NUL"));
}

TEST_CASE("a file that is not JSON is refused with line and column") {
    CHECK(contains(error_of(Side::kSend, "{\n  \"stats\": \"a\",\n  \"events\" \"b\"\n}"),
                   "not valid JSON: parse error at line 3, column"));
    CHECK(contains(error_of(Side::kSend, ""), "not valid JSON: parse error at line 1"));
    CHECK(contains(error_of(Side::kSend, R"({"stats": "a",})"), "not valid JSON"));
    CHECK(contains(error_of(Side::kSend, R"({"stats": "a"} x)"), "not valid JSON"));
    CHECK(contains(error_of(Side::kSend, "{\"stats\": \"\xff\"}"), "not valid JSON"));
    CHECK(contains(error_of(Side::kSend, "{ // no end"), "not valid JSON"));
    for (const std::string_view json : {"[]", "3", "\"send\"", "null"}) {
        CHECK(error_of(Side::kSend, json) == "the file does not hold a JSON object { … }");
    }
}

TEST_CASE("a configuration cut off anywhere is refused") {
    const std::string whole = R"({"multifd-channels": 8, "send": {"stats": "a"}})";
    for (std::size_t size = 0; size < whole.size(); ++size) {
        error_of(Side::kSend, whole.substr(0, size));
    }
    loaded(Side::kSend, whole);
}

TEST_CASE("a file that is too large or nested too deep does no harm") {
    const std::string spaces(kMiB - 2, ' ');
    loaded(Side::kSend, "{" + spaces + "}");
    CHECK(error_of(Side::kSend, "{" + spaces + " }") ==
          "the file is larger than 1 MiB, the limit for a configuration");
    CHECK(contains(error_of(Side::kSend, std::string(kMiB, '[')), "not valid JSON"));
    const std::string deep(100'000, '[');
    CHECK(contains(error_of(Side::kSend, R"({"stats": )" + deep + std::string(100'000, ']') + "}"),
                   "the value must be a string"));
}

TEST_CASE("a file that cannot be read is refused") {
    Settings settings(Side::kSend);
    const Status missing = load_config_file("/nonexistent/migrate.json", settings);
    REQUIRE_FALSE(missing);
    CHECK(missing.error().message() ==
          "/nonexistent/migrate.json: cannot open the file: No such file or directory");
    CHECK(missing.error().kind() == ErrorKind::kUsage);
    const Status folder = load_config_file("/tmp", settings);
    REQUIRE_FALSE(folder);
    CHECK(folder.error().message() == "/tmp: cannot read the file: Is a directory");
    const Status endless = load_config_file("/dev/zero", settings);
    REQUIRE_FALSE(endless);
    CHECK(contains(endless.error().message(), "larger than 1 MiB"));
}

TEST_CASE("settings are printed with the JSON type that suits them") {
    Settings settings(Side::kSend);
    REQUIRE(settings.set("multifd-channels", "8"));
    REQUIRE(settings.set("source", "a\"b\\c\nd"));
    const auto text = settings_to_json(settings);
    REQUIRE(text);
    const auto json = nlohmann::json::parse(*text);
    CHECK(json["multifd-channels"] == 8);
    CHECK(json["skip-unpopulated"] == true);
    CHECK(json["multifd-normal-page-ratio"] == "off");
    CHECK(json["multifd-packet-size"] == "512K");
    CHECK(json["io-timeout"] == "30s");
    CHECK(json["source"] == "a\"b\\c\nd");
    CHECK_FALSE(json.contains("listen"));
}
