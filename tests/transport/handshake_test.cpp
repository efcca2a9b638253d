// SPDX-License-Identifier: Apache-2.0
#include "transport/handshake.hpp"

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/negotiated.hpp"

namespace migrate::transport {
namespace {

using Json = nlohmann::json;

Offer some_offer() {
    return {.program = "migrate 9",
            .regions = {{"ram", 512 * kMiB}, {"vga", 16 * kPageSize}},
            .settings = negotiated({{"multifd-channels", "8"},
                                    {"multifd-packet-size", "64K"},
                                    {"multifd-compression", "zstd"},
                                    {"verify", "digest"}}),
            .guest = {}};
}

Json offer_json() { return Json::parse(encode(some_offer())); }

bool names(const std::string& message, std::string_view part) {
    UNSCOPED_INFO(message);
    return message.find(part) != std::string::npos;
}

TEST_CASE("an offer survives its encoding") {
    const Offer back = must(decode_offer(encode(some_offer())));
    CHECK(back.program == "migrate 9");
    REQUIRE(back.regions.size() == 2);
    CHECK(back.regions[0].name == "ram");
    CHECK(back.regions[0].size_bytes == 512 * kMiB);
    CHECK(back.regions[1].name == "vga");
    CHECK(back.settings.channels() == 8);
    CHECK(back.settings.packet_bytes() == 65536);
    CHECK(back.settings.compression() == Compression::kZstd);
    CHECK(back.settings.verify());
}

TEST_CASE("an offer names the host and the files of its regions, or leaves both out") {
    Offer offer = some_offer();
    CHECK(must(decode_offer(encode(offer))).files.empty());
    CHECK_FALSE(offer_json().contains("boot-id"));
    offer.boot_id = "0a1b2c3d-0000-4fff-8888-0123456789ab";
    offer.files = {FileIdentity{26, UINT64_MAX}, std::nullopt};
    const Offer back = must(decode_offer(encode(offer)));
    CHECK(back.boot_id == offer.boot_id);
    CHECK(back.files == offer.files);
    offer.boot_id.clear();
    CHECK(must(decode_offer(encode(offer))).files == offer.files);
}

TEST_CASE("an invalid host or file is refused by its key") {
    Offer offer = some_offer();
    offer.boot_id = "0a1b2c3d-0000-4fff-8888-0123456789ab";
    offer.files = {FileIdentity{26, 2}, FileIdentity{26, 3}};
    const Json good = Json::parse(encode(offer));
    for (const Json& id :
         {Json(7), Json("x"), Json(std::string(36, 'g')), Json(std::string(37, 'a')),
          Json(std::string(100'000, 'a')), Json(Json::array())}) {
        Json bad = good;
        bad["boot-id"] = id;
        CHECK(names(message_of(decode_offer(bad.dump())), "boot-id"));
    }
    for (const char* key : {"device", "inode"}) {
        for (const Json& value : {Json(-1), Json("2"), Json(1.5), Json(nullptr)}) {
            Json bad = good;
            bad["regions"][1][key] = value;
            CHECK(names(message_of(decode_offer(bad.dump())), key));
        }
        Json half = good;
        half["regions"][1].erase(key);
        CHECK(names(message_of(decode_offer(half.dump())), key));
    }
}

TEST_CASE("the other messages survive their encoding") {
    const SessionId session = must(make_session_id());
    const Accept accept = must(decode_accept(encode(Accept{session, "migrate 9", "file:/x"})));
    CHECK(accept.session == session);
    CHECK(accept.program == "migrate 9");
    CHECK(accept.sink == "file:/x");
    const RoundMark mark = must(decode_round_mark(encode(RoundMark{UINT32_MAX, UINT64_MAX})));
    CHECK(mark.round == UINT32_MAX);
    CHECK(mark.pages == UINT64_MAX);
    CHECK(must(decode_round_mark(encode(RoundMark{2, 0}))).pages == 0);
    CHECK(must(decode_round_mark(encode(RoundMark{2, 0}))).dirty_rate == 0);
    const RoundMark rated{.round = 2, .pages = 0, .lost = {}, .dirty_rate = 700};
    CHECK(must(decode_round_mark(encode(rated))).dirty_rate == 700);
    CHECK(must(decode_load_time(encode(LoadTime{12'345}))).microseconds == 12'345);
    CHECK(must(decode_pause_time(encode(PauseTime{12'345}))).microseconds == 12'345);
    CHECK_FALSE(must(decode_pause_time(encode(PauseTime{}))).microseconds);
    const PageCounts pages{1, UINT64_MAX, 3};
    const Completion completion = must(decode_completion(encode(Completion{pages, {"ab", "cd"}})));
    CHECK(completion.pages == pages);
    CHECK(completion.digests == std::vector<std::string>{"ab", "cd"});
    const Done done = must(decode_done(encode(Done{pages, 250, 180'000})));
    CHECK(done.pages == pages);
    CHECK(done.resume_us == 250);
    CHECK(done.downtime_us == 180'000);
    const Failure failure = decode_failure(encode(Failure{true, "the user"}));
    CHECK(failure.cancelled);
    CHECK(failure.reason == "the user");
    CHECK(failure.guest_runs == false);
    CHECK(decode_failure(encode(Failure{false, "lost", true})).guest_runs == true);
    CHECK_FALSE(decode_failure(encode(Failure{false, "lost", std::nullopt})).guest_runs);
    CHECK(failure.outcome.empty());
    CHECK(decode_failure(encode(Failure{false, "full", false, "refused"})).outcome == "refused");
}

TEST_CASE("a failure's outcome is any word, or none from a program that sends none") {
    CHECK(decode_failure(R"({"reason":"r","guest-runs":false})").outcome.empty());
    CHECK(decode_failure(R"({"reason":"r","outcome":7})").outcome.empty());
    CHECK(decode_failure(R"({"reason":"r","outcome":"of-tomorrow"})").outcome == "of-tomorrow");
    CHECK(decode_failure(R"({"outcome":"a\u001bb"})").outcome == "a?b");
    const Failure endless{false, "r", false, std::string(1000, 'w')};
    CHECK(decode_failure(encode(endless)).outcome.size() == 32);
    CHECK(decode_failure("not JSON").outcome.empty());
}

TEST_CASE("an offer names its guest and needs the feature for it; without a guest, neither") {
    const auto features = [](const Offer& offer) {
        return Json::parse(encode(offer))["features"].get<std::vector<std::string>>();
    };
    Offer offer = some_offer();
    CHECK(must(decode_offer(encode(offer))).guest.empty());
    const std::vector<std::string> without = features(offer);
    offer.guest = "workload";
    CHECK(must(decode_offer(encode(offer))).guest == "workload");
    std::vector<std::string> with = without;
    with.emplace_back("guest");
    CHECK(features(offer) == with);
}

Offer journey_offer() {
    Offer offer = some_offer();
    offer.journey = {.leg = 3,
                     .legs = 8,
                     .return_port = 4445,
                     .options = {{"stall-limit", "5s"}, {"on-deadline", "switch"}}};
    return offer;
}

TEST_CASE("a journey survives its encoding, the options for the way back with it") {
    const Journey journey = must(decode_offer(encode(journey_offer()))).journey;
    CHECK(journey.leg == 3);
    CHECK(journey.legs == 8);
    CHECK(journey.return_port == 4445);
    CHECK(journey.options == journey_offer().journey.options);
    Json json = Json::parse(encode(journey_offer()));
    json["journey"].erase("options");
    CHECK(must(decode_offer(json.dump())).journey.options.empty());
    CHECK(must(decode_offer(encode(some_offer()))).journey.leg == 0);
}

TEST_CASE("a journey that makes no sense is refused, and its text is safe to print") {
    const auto error = [](const char* key, const Json& value) {
        Json json = Json::parse(encode(journey_offer()));
        json["journey"][key] = value;
        return message_of(decode_offer(json.dump()));
    };
    CHECK(names(error("leg", 9), "leg"));
    CHECK(names(error("leg", 0), "leg"));
    CHECK(names(error("return-port", 65536), "return-port"));
    CHECK(names(error("options", Json::array({1})), "options"));
    CHECK(names(error("options", {{"stall-limit", 5}}), "stall-limit"));
    Json many = Json::object();
    for (std::size_t i = 0; i <= kMaxSettings; ++i) many[std::to_string(i)] = "x";
    CHECK(names(error("options", many), "options"));

    Offer offer = journey_offer();
    offer.journey.options = {{"name\n", std::string(64, '\x1B')}};
    const auto printed = must(decode_offer(encode(offer))).journey.options;
    CHECK(printed == std::map<std::string, std::string>{{"name?", std::string(64, '?')}});
    offer.journey.options = {{"name", std::string(65, 'x')}};
    CHECK(names(message_of(decode_offer(encode(offer))), "more than 64 bytes"));
}

TEST_CASE("a message cut at any byte is refused") {
    const auto refused_at_every_byte = [](const std::string& whole, auto decode) {
        for (std::size_t size = 0; size < whole.size(); ++size) {
            const auto result = decode(std::string_view(whole).substr(0, size));
            INFO(whole.substr(0, size));
            REQUIRE_FALSE(result);
            CHECK(result.error().kind() == ErrorKind::kProtocol);
        }
    };
    refused_at_every_byte(encode(some_offer()), decode_offer);
    refused_at_every_byte(encode(journey_offer()), decode_offer);
    refused_at_every_byte(encode(Accept{}), decode_accept);
    refused_at_every_byte(encode(RoundMark{1, 77}), decode_round_mark);
    refused_at_every_byte(encode(LoadTime{123}), decode_load_time);
    refused_at_every_byte(encode(PauseTime{123}), decode_pause_time);
    refused_at_every_byte(encode(Ready{123}), decode_ready);
    refused_at_every_byte(encode(Completion{{1, 2, 3}, {"ab"}}), decode_completion);
    refused_at_every_byte(encode(Done{{1, 2, 3}, 4, 5}), decode_done);
}

TEST_CASE("a message without one of its numbers is refused by the number's name") {
    const auto refused_without = [](const std::string& whole, const char* key, auto decode) {
        for (const Json& value : {Json(), Json("1"), Json(-1), Json(1.5), Json::array({1})}) {
            Json json = Json::parse(whole);
            json[key] = value;
            if (value.is_null()) json.erase(key);
            const auto result = decode(json.dump());
            INFO(json.dump());
            REQUIRE_FALSE(result);
            CHECK(result.error().kind() == ErrorKind::kProtocol);
            CHECK(names(result.error().message(), key));
        }
    };
    refused_without(encode(RoundMark{1, 2}), "round", decode_round_mark);
    refused_without(encode(RoundMark{1, 2}), "pages", decode_round_mark);
    refused_without(encode(LoadTime{1}), "load-us", decode_load_time);
    refused_without(encode(Done{{1, 2, 3}, 4, 5}), "resume-us", decode_done);
    refused_without(encode(Done{{1, 2, 3}, 4, 5}), "downtime-us", decode_done);
}

TEST_CASE("times have a bound, so that their sums have one") {
    constexpr std::uint64_t kMost = std::uint64_t{1} << 42;
    CHECK(must(decode_load_time(encode(LoadTime{kMost}))).microseconds == kMost);
    CHECK(decode_done(encode(Done{{}, kMost, kMost})));
    CHECK(must(decode_ready(encode(Ready{kMost}))).prepared_us == kMost);
    // A program that does not measure it.
    CHECK(must(decode_ready("{}")).prepared_us == 0);
    for (const std::uint64_t time : {kMost + 1, UINT64_MAX}) {
        CHECK(names(message_of(decode_ready(encode(Ready{time}))), "prepared-us"));
        CHECK(names(message_of(decode_load_time(encode(LoadTime{time}))), "load-us"));
        CHECK(names(message_of(decode_pause_time(encode(PauseTime{time}))), "paused-us"));
        CHECK(names(message_of(decode_done(encode(Done{{}, time, 0}))), "resume-us"));
        CHECK(names(message_of(decode_done(encode(Done{{}, 0, time}))), "downtime-us"));
    }
}

TEST_CASE("an offer without one of its keys is refused by the key's name") {
    for (const char* key : {"features", "regions"}) {
        Json json = offer_json();
        json.erase(key);
        CHECK(names(message_of(decode_offer(json.dump())), key));
    }
    for (const char* key : {"size", "page-size"}) {
        Json json = offer_json();
        json["regions"][0].erase(key);
        CHECK(names(message_of(decode_offer(json.dump())), key));
    }
    Json json = offer_json();
    json["regions"][1].erase("name");
    CHECK(names(message_of(decode_offer(json.dump())), "name"));
}

TEST_CASE("an offer's numbers are held to their ranges") {
    const auto refused = [](const char* pointer, const Json& value, const char* part) {
        Json json = offer_json();
        json[Json::json_pointer(pointer)] = value;
        const auto offer = decode_offer(json.dump());
        INFO(pointer << " " << value.dump());
        REQUIRE_FALSE(offer);
        CHECK(offer.error().kind() == ErrorKind::kProtocol);
        CHECK(names(offer.error().message(), part));
    };
    for (const Json& value :
         {Json(0), Json(4095), Json(4097), Json(UINT64_MAX), Json(-4096), Json("1G")}) {
        refused("/regions/0/size", value, value == Json(4097) ? "page size" : "size");
    }
    refused("/regions/0/page-size", 65536, "page-size");
    refused("/regions/0/name", "", "name");
    refused("/regions/0/name", 5, "name");
    refused("/regions/0", "ram", "region");
    refused("/regions", Json::array(), "regions");
    refused("/regions", Json::object(), "regions");
    // Each in range, together beyond any machine.
    Json json = offer_json();
    json["regions"][0]["size"] = std::uint64_t{1} << 52;
    CHECK(names(message_of(decode_offer(json.dump())), "too much"));
}

TEST_CASE("an offer carries the settings that are not the default, as text by key") {
    CHECK(offer_json()["settings"] == Json{{"multifd-channels", "8"},
                                           {"multifd-packet-size", "64K"},
                                           {"multifd-compression", "zstd"},
                                           {"verify", "digest"}});
    Offer offer = some_offer();
    offer.settings = NegotiatedSettings();
    CHECK(Json::parse(encode(offer))["settings"] == Json::object());
}

TEST_CASE("a setting that the offer lacks has its default") {
    for (const bool erased : {false, true}) {
        Json json = offer_json();
        json["settings"].erase("multifd-packet-size");
        json["settings"].erase("verify");
        if (erased) json.erase("settings");
        const NegotiatedSettings settings = must(decode_offer(json.dump())).settings;
        CHECK(settings.packet_bytes() == 512 * kKiB);
        CHECK_FALSE(settings.verify());
        CHECK(settings.channels() == (erased ? 2 : 8));
    }
}

TEST_CASE("a setting that its row does not allow is refused by key and value, with the remedy") {
    const auto refusal = [](const std::string& key, const Json& value) {
        Json json = offer_json();
        json["settings"][key] = value;
        const auto offer = decode_offer(json.dump());
        INFO(key << " " << value.dump());
        REQUIRE_FALSE(offer);
        CHECK(offer.error().kind() == ErrorKind::kProtocol);
        CHECK(names(offer.error().message(), key));
        return offer.error().message();
    };
    CHECK(
        refusal("multifd-channels", "256") ==
        "the sender's setting multifd-channels=256 cannot be used here: option "
        "multifd-channels: 256 is out of range 1 … 255 or auto; update the receiver, or change the "
        "option at the sender");
    for (const char* value : {"0", "-1", "65538", "1.5", "", " 8", "8 ", "0x8", "1e3"}) {
        refusal("multifd-channels", value);
    }
    for (const char* value : {"0", "4095", "4097", "5M", "18446744073709551616"}) {
        refusal("multifd-packet-size", value);
    }
    CHECK(names(refusal("multifd-compression", "qpl"), "none, lz4 or zstd, not 'qpl'"));
    CHECK(names(refusal("verify", "sha"), "none or digest"));
    for (const Json& value : {Json(8), Json(nullptr), Json(true), Json::array(), Json::object()}) {
        CHECK(names(refusal("multifd-channels", value), "not a string"));
    }
}

TEST_CASE("a setting that this receiver does not know is refused by its name") {
    for (const char* key : {"multifd-colour", "", "channels", "source", "io-timeout"}) {
        Json json = offer_json();
        json["settings"][key] = "1";
        const std::string message = message_of(decode_offer(json.dump()));
        CHECK(names(message, fmt::format("there is no option '{}' that both sides share", key)));
        CHECK(names(message, "update the receiver"));
    }
}

TEST_CASE("an offer's settings are bounded in number and size, and safe to print") {
    Json json = offer_json();
    for (const Json& value : {Json("8"), Json(8), Json::array({"a"}), Json(nullptr)}) {
        json["settings"] = value;
        CHECK(names(message_of(decode_offer(json.dump())), "'settings' is not an object"));
    }
    json = offer_json();
    for (std::size_t i = 0; i < kMaxSettings; ++i) json["settings"][std::to_string(i)] = "x";
    CHECK(names(message_of(decode_offer(json.dump())), "at most 64 entries"));
    json = offer_json();
    json["settings"]["verify"] = std::string(kMaxSettingBytes + 1, 'd');
    CHECK(names(message_of(decode_offer(json.dump())), "more than 64 bytes"));
    json = offer_json();
    json["settings"][std::string(100'000, 'k')] = "x";
    CHECK(message_of(decode_offer(json.dump())).size() < 300);
    json = offer_json();
    json["settings"]["evil\x1B[2J"] = "\x07";
    const std::string message = message_of(decode_offer(json.dump()));
    CHECK(message.find('\x1B') == std::string::npos);
    CHECK(message.find('\x07') == std::string::npos);
}

// A default is what a peer assumes if the offer lacks the key: changing one changes the protocol.
// Older peers assume multifd-channels=2, with which auto begins.
TEST_CASE("the defaults of negotiated options are those of the protocol's version") {
    std::string defaults;
    for (const Option& option : kOptions) {
        if (option.negotiated) defaults += fmt::format("{}={} ", option.key, option.default_text);
    }
    CHECK(defaults ==
          "page-digests=on verify=none multifd-channels=auto multifd-packet-size=512K "
          "multifd-socket-buffer=auto "
          "packet-checksum=auto multifd-compression=none postcopy-ram=off ");
}

TEST_CASE("an offer names at most the regions allowed") {
    Offer offer = some_offer();
    offer.regions.assign(kMaxRegions, {"ram", kPageSize});
    CHECK(must(decode_offer(encode(offer))).regions.size() == kMaxRegions);
    offer.regions.push_back({"ram", kPageSize});
    CHECK(names(message_of(decode_offer(encode(offer))), "regions"));
}

TEST_CASE("unknown keys are ignored") {
    Json json = offer_json();
    json["colour"] = "blue";
    json["regions"][0]["numa"] = {{"node", 1}};
    CHECK(decode_offer(json.dump()));
    Json mark = {{"round", 1}, {"pages", 2}, {"colour", "blue"}};
    CHECK(decode_round_mark(mark.dump()));
}

TEST_CASE("an unknown feature is refused by name") {
    Json json = offer_json();
    json["features"].push_back("postcopy");
    CHECK(names(message_of(decode_offer(json.dump())), "'postcopy'"));
    json["features"].back() = 7;
    CHECK_FALSE(decode_offer(json.dump()));
    json["features"] = "multifd";
    CHECK_FALSE(decode_offer(json.dump()));
}

TEST_CASE("hostile JSON is an error and nothing worse") {
    std::vector<std::string> bodies{
        "",
        "null",
        "[]",
        "\"offer\"",
        "1e999",
        "{\"round\": 1e999}",
        "{\"round\": 99999999999999999999999999}",
        "{\"round\": -1}",
        "{\"round\": 4294967296}",
        "{\"round\": 0}",
        "{\"round\": true}",
        "{\"round\": \"1\"}",
        "{\"round\": {\"round\": 1}}",
        "{\"pages\": 1}",
        "{\"pages\": {}}",
        "{\"pages\": {\"normal\": 1, \"zero\": 1}}",
        "{\"pages\": {\"normal\": 1, \"zero\": 1, \"unpopulated\": -1}}",
        "{\"session\": \"zz\"}",
        "{\"session\": \"" + std::string(32, 'G') + "\"}",
        "{\"session\": \"" + std::string(32, 'A') + "\"}",
        "{\"session\": \"" + std::string(31, 'a') + "\"}",
        "{\"session\": [" + std::string(32, '1') + "]}",
        "{\"round\": \"\xFF\xFE\"}",
        "{\"\xC0\x80\": 1}",
        std::string(200'000, '['),
        std::string(100'000, '[') + std::string(100'000, ']'),
        std::string("{\"round\"\0: 1}", 13),
    };
    std::string nested;
    for (int i = 0; i < 40'000; ++i) nested += "{\"a\":";
    bodies.push_back(nested);
    bodies.push_back(nested + "1" + std::string(40'000, '}'));
    for (const std::string& body : bodies) {
        INFO(body.substr(0, 80));
        CHECK_FALSE(decode_offer(body));
        CHECK_FALSE(decode_accept(body));
        CHECK_FALSE(decode_round_mark(body));
        CHECK_FALSE(decode_load_time(body));
        CHECK_FALSE(decode_completion(body));
        CHECK_FALSE(decode_done(body));
        CHECK(decode_failure(body).reason == "the peer gave no reason");
    }
}

TEST_CASE("digests are a bounded list of strings") {
    const Json pages = {{"normal", 0}, {"zero", 0}, {"unpopulated", 0}};
    const auto decode = [&](const Json& digests) {
        return decode_completion(Json{{"pages", pages}, {"digests", digests}}.dump());
    };
    CHECK(decode(Json::array()));
    CHECK_FALSE(decode(Json::object()));
    CHECK_FALSE(decode("ab"));
    CHECK_FALSE(decode(Json::array({1})));
    CHECK_FALSE(decode(Json(std::vector<std::string>(kMaxRegions + 1, "ab"))));
}

TEST_CASE("a peer's text is made safe to print") {
    const std::string reason =
        std::string("a\x1B[2J\r\n\t\x7F") + "\xC3\xA9" + std::string(1, '\0') + "z";
    const Failure failure = decode_failure(encode(Failure{false, reason}));
    CHECK(failure.reason.front() == 'a');
    CHECK(failure.reason.back() == 'z');
    for (const char c : failure.reason) {
        CHECK((c >= 0x20 && c < 0x7F));
    }
    CHECK(decode_failure(encode(Failure{false, std::string(100'000, 'r')})).reason.size() == 1024);
    Offer offer = some_offer();
    offer.program = "evil\x1B]0;title\x07";
    CHECK(must(decode_offer(encode(offer))).program == "evil?]0;title?");
    offer.guest = "evil\x07guest" + std::string(100, 'g');
    CHECK(must(decode_offer(encode(offer))).guest == "evil?guest" + std::string(54, 'g'));
    offer.program = "not UTF-8: \xFF";
    CHECK(decode_offer(encode(offer)));
}

TEST_CASE("session ids differ and print as hexadecimal") {
    const SessionId one = must(make_session_id());
    CHECK(one != must(make_session_id()));
    CHECK(to_hex(one).size() == 32);
    SessionId counted{};
    counted[0] = std::byte{0x0F};
    counted[15] = std::byte{0xA0};
    CHECK(to_hex(counted) == "0f0000000000000000000000000000a0");
}

}  // namespace
}  // namespace migrate::transport
