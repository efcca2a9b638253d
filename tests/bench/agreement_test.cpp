// SPDX-License-Identifier: Apache-2.0
#include "bench/agreement.hpp"

#include "catch.hpp"

using namespace migrate::bench;

namespace {

Json sent() {
    return {{"ram",
             {{"total", 4096 * 10},
              {"transferred", 900},
              {"normal", 3},
              {"duplicate", 5},
              {"unpopulated", 2},
              {"planned-pages", 14},
              {"postponed-pages", 4}}},
            {"rounds", {{{"pages", 10}}, {{"pages", 1}}}},
            {"rounds-left-out", {{"pages", 3}}},
            {"downtime-us", 100},
            {"downtime-split-us", {{"stop", 40}, {"resume", 60}}}};
}

Json received() {
    Json json = sent();
    json["downtime-us"] = 90;
    json["guest"] = {{"check", "passed"}, {"longest-gap-us", 95}, {"bytes-per-second-after", 5}};
    return json;
}

}  // namespace

TEST_CASE("statistics of both sides that agree are accepted, also those of an image") {
    CHECK(disagreements(sent(), received()).empty());
    const Json image = {{"ram", {{"total", 4096}, {"transferred", 9}}}};
    CHECK(disagreements(image, image).empty());
}

TEST_CASE("every kind of disagreement is named") {
    const auto finds = [](const Json& here, const Json& there, std::string_view what) {
        const auto wrong = disagreements(here, there);
        REQUIRE(wrong.size() == 1);
        INFO(wrong[0]);
        CHECK(wrong[0].find(what) != std::string::npos);
    };
    Json json = received();
    json["ram"]["transferred"] = 901;
    finds(sent(), json, "transferred: 900 sent, 901 received");
    json = sent();
    json["rounds"][0]["pages"] = 7;
    finds(json, received(), "11 in all rounds");
    json = sent();
    json["downtime-split-us"]["stop"] = 10;
    finds(json, received(), "add up to 70 µs of 100 µs");
    json = received();
    json["downtime-us"] = 101;
    json["guest"]["longest-gap-us"] = 200;
    finds(sent(), json, "longer than the sender's");
    json = received();
    json["guest"]["longest-gap-us"] = 80;
    finds(sent(), json, "no gap as long as the downtime");
    json["guest"]["bytes-per-second-after"] = 0;
    CHECK(disagreements(sent(), json).empty());
    json = received();
    json["guest"]["check"] = "page 7 is wrong";
    finds(sent(), json, "page 7 is wrong");
}
