// SPDX-License-Identifier: Apache-2.0
#include "bench/sweep.hpp"

#include <set>

#include "bench/scenario_text.hpp"

using namespace migrate;
using namespace migrate::bench;
using test::parsed;
using test::refusal_of;

namespace {

std::string with_sweep(const std::string& sweep, const std::string& more = "") {
    return R"({"name": "v", "send": {"multifd-channels": "{n}"}, "sweep": )" + sweep + more + "}";
}

}  // namespace

TEST_CASE("a sweep makes a variant of every combination of its values") {
    const Scenario scenario = parsed(
        R"({"name": "v", "label": "{n} of {rate}", "x": "{rate}", "send": {"multifd-channels": "{n}"},
            "source": "workload:{size},rate={rate}", "sweep": {"rate": [10, 20], "n": [1, 2, 3]}})");
    REQUIRE(scenario.variants.size() == 6);
    const Variant& last = scenario.variants.back();
    CHECK(last.name == "v-20-3");
    CHECK(last.label == "3 of 20");
    CHECK(last.x == 20);
    CHECK(last.source == "workload:{size},rate=20");
    CHECK(option_in(last.send, "multifd-channels") == "3");
    CHECK(scenario.variants[1].name == "v-10-2");
}

TEST_CASE("a sweep's value may be used in the defaults, and texts become parts of names") {
    const std::string text = R"({"name": "s", "tables": ["live"], "guest": "64M",
        "defaults": {"source": "workload:{size},pattern={pattern}", "sink": "anon:"},
        "variants": [{"name": "v", "sweep": {"pattern": ["uniform", "hot-spot"]}}]})";
    const Result<Scenario> scenario = parse_scenario(text, "FILE");
    INFO((scenario ? std::string() : scenario.error().message()));
    REQUIRE(scenario);
    CHECK(scenario->variants[1].name == "v-hot-spot");
    CHECK(scenario->variants[1].source == "workload:{size},pattern=hot-spot");
}

TEST_CASE("a range of seeds draws the same values in every run") {
    const std::string text =
        R"({"name": "v", "source": "workload:{size},seed={seed},pattern={pattern}",
            "sweep": {"seed": {"from": 1, "to": 40}}, "draw": {"pattern": ["a", "b", "c"]}})";
    const Scenario first = parsed(text);
    const Scenario second = parsed(text);
    REQUIRE(first.variants.size() == 40);
    std::set<std::string> drawn;
    for (std::size_t i = 0; i < first.variants.size(); ++i) {
        CHECK(first.variants[i].source == second.variants[i].source);
        REQUIRE(first.variants[i].point.values.size() == 2);
        drawn.insert(first.variants[i].point.values[1].second);
    }
    CHECK(drawn == std::set<std::string>{"a", "b", "c"});
    CHECK(first.variants[2].name == "v-3");
    // The other seeds do not change what a seed draws.
    std::string one = text;
    one.replace(one.find("\"from\": 1"), 9, "\"from\": 3");
    CHECK(parsed(one).variants[0].source == first.variants[2].source);
}

TEST_CASE("a wrong sweep is refused with the variant's name and the reason") {
    const auto refuses = [](const std::string& variant, std::string_view why) {
        const std::string message = refusal_of(variant);
        INFO(message);
        CHECK(message.find("variant 'v'") != std::string::npos);
        CHECK(message.find(why) != std::string::npos);
    };
    refuses(with_sweep("{}"), "no object with values");
    refuses(with_sweep("[1]"), "no object with values");
    refuses(with_sweep(R"({"n": []})"), "a list of 1 to 256 values");
    refuses(with_sweep(R"({"n": 3})"), "a list of 1 to 256 values");
    refuses(with_sweep(R"({"n": [[1]]})"), "neither a text nor a number");
    refuses(with_sweep(R"({"n": {"from": 1}})"), "needs \"from\" and \"to\"");
    refuses(with_sweep(R"({"n": {"from": 2, "to": 1}})"), "sweep.n: to is no whole number from 2");
    refuses(with_sweep(R"({"n": {"from": 1, "to": 2, "by": 1}})"), "unknown key 'by'");
    refuses(with_sweep(R"({"n": {"from": 0, "to": 1000000000}})"), "more than 256 values");
    refuses(with_sweep(R"({"n": [1, 2], "m": {"from": 1, "to": 200}})"), "256 combinations");
    refuses(with_sweep(R"({"n": [1], "m": [1]})"), "the value m is never used");
    refuses(with_sweep(R"({"size": [1]})"), "{size} has a meaning of its own");
    refuses(with_sweep(R"({"N": [1]})"), "name 'N'");
    refuses(with_sweep(R"({"n": [1]})", R"(, "draw": {"n": [2]})"), "both in sweep and in draw");
    refuses(R"({"name": "v", "draw": {"n": [1]}, "send": {"multifd-channels": "{n}"}})",
            "draw needs a sweep");
    // A value is checked like any other.
    refuses(with_sweep(R"({"n": [1, 256]})"), "255");
    refuses(with_sweep(R"({"n": [1, 1]})"), "twice");
}

TEST_CASE("sweeps belong to single entries, and deep JSON is refused") {
    const Result<Scenario> scenario = parse_scenario(
        R"({"name": "s", "tables": ["live"], "defaults": {"sweep": {"n": [1]}}, "variants": []})",
        "FILE");
    REQUIRE_FALSE(scenario);
    CHECK(scenario.error().message().find("defaults: unknown key 'sweep'") != std::string::npos);
    const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
    CHECK(refusal_of(R"({"name": "v", "source": "anon:1M", "name": "w"})")
              .find("'name' is set twice in the same object") != std::string::npos);
    CHECK(refusal_of(R"({"name": "v", "source": )" + deep + "}").find("deeper than 8") !=
          std::string::npos);
}
