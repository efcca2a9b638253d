// SPDX-License-Identifier: Apache-2.0
#include "bench/scenario.hpp"

#include <filesystem>
#include <fstream>
#include <set>

#include "base/units.hpp"
#include "bench/builtin_scenarios.hpp"
#include "bench/scenario_files.hpp"
#include "catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace migrate;
using namespace migrate::bench;

namespace {

constexpr const char* kSmall = R"({
    // comments are allowed
    "name": "small", "tables": ["threads", "latency"], "guest": "64M", "repeats": 2,
    "defaults": {"source": "anon:{size},fill=zero", "sink": "anon:", "send": {"multifd-channels": 2}},
    "variants": [
        {"name": "a", "send": {"skip-unpopulated": false}},
        {"name": "b", "label": "B", "send": {"multifd-channels": 4}, "compare-to": "a", "x": 4}
    ]
})";

// The small scenario with one text in it replaced.
std::string with(std::string_view what, std::string_view by) {
    std::string text = kSmall;
    const std::size_t at = text.find(what);
    REQUIRE(at != std::string::npos);
    return text.replace(at, what.size(), by);
}

std::string refusal(const std::string& text) {
    const Result<Scenario> scenario = parse_scenario(text, "FILE");
    if (scenario) return "accepted";
    CHECK(scenario.error().kind() == ErrorKind::kUsage);
    CHECK(scenario.error().message().find("FILE: ") == 0);
    return scenario.error().message();
}

bool names(const std::string& message, std::string_view part) {
    INFO(message);
    return message.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a scenario's variants take their options from its defaults and then from themselves") {
    const Result<Scenario> scenario = parse_scenario(kSmall, "FILE");
    INFO((scenario ? std::string() : scenario.error().message()));
    REQUIRE(scenario);
    CHECK(scenario->repeats == 2);
    CHECK(scenario->warm_ups == 1);
    REQUIRE(scenario->variants.size() == 2);
    const Variant& a = scenario->variants[0];
    const Variant& b = scenario->variants[1];
    CHECK(a.guest == 64 * kMiB);
    CHECK(a.quick_guest == a.guest);
    CHECK(a.label == "a");
    CHECK(option_in(a.send, "multifd-channels") == "2");
    CHECK(option_in(a.send, "skip-unpopulated") == "off");
    CHECK(option_in(b.send, "multifd-channels") == "4");
    CHECK(b.compare_to == "a");
    CHECK(b.x == 4);
}

TEST_CASE("a scenario with an unknown key is refused and the nearest key named") {
    CHECK(names(refusal(with("\"repeats\"", "\"repeat\"")), "did you mean 'repeats'?"));
    CHECK(names(refusal(with("\"label\"", "\"lable\"")), "did you mean 'label'?"));
    CHECK(names(refusal(with("\"skip-unpopulated\"", "\"skip-unpopulatet\"")), "skip-unpopulated"));
}

TEST_CASE("a scenario's values have ranges") {
    CHECK(names(refusal(with("\"repeats\": 2", "\"repeats\": 0")), "from 1 to 1000"));
    CHECK(names(refusal(with("\"repeats\": 2", "\"repeats\": 1001")), "from 1 to 1000"));
    CHECK(names(refusal(with("\"repeats\": 2", "\"repeats\": -1")), "repeats"));
    CHECK(names(refusal(with("\"repeats\": 2", "\"repeats\": 2.5")), "repeats"));
    CHECK(names(refusal(with("64M", "64")), "guest"));
    CHECK(names(refusal(with("64M", "17T")), "guest"));
    CHECK(names(refusal(with("64M", "1048577")), "guest"));
    CHECK(names(refusal(with("\"multifd-channels\": 4", "\"multifd-channels\": 256")), "255"));
    CHECK(names(refusal(with("\"x\": 4", "\"x\": \"4\"")), "x"));
    CHECK(names(refusal(with("\"threads\"", "\"thread\"")), "tables"));
}

TEST_CASE("a scenario cannot name what the bench chooses or what is no memory") {
    CHECK(names(refusal(with("\"multifd-channels\": 4", "\"stats\": \"/tmp/x\"")), "bench's own"));
    CHECK(names(refusal(with("anon:{size},fill=zero", "file:/etc/passwd")), "source"));
    CHECK(names(refusal(with("anon:{size},fill=zero", "anon:64M")), "size"));
    CHECK(names(refusal(with("anon:{size},fill=zero", "image:mixed:101")), "PERCENT"));
    CHECK(names(refusal(with("\"sink\": \"anon:\"", "\"sink\": \"file:/etc/x\"")), "sink"));
    CHECK(names(refusal(with("\"name\": \"a\"", "\"name\": \"../a\"")), "name"));
    CHECK(names(refusal(with("\"name\": \"b\"", "\"name\": \"a\"")), "twice"));
    CHECK(names(refusal(with("\"compare-to\": \"a\"", "\"compare-to\": \"c\"")), "compare-to"));
}

TEST_CASE("hostile text is no scenario and does no harm") {
    CHECK(names(refusal(""), "no valid JSON"));
    CHECK(names(refusal("[]"), "no object"));
    CHECK(names(refusal(std::string(200'000, '[')), "no valid JSON"));
    CHECK(names(refusal(std::string(kMaxScenarioBytes + 1, ' ')), "larger than 1 MiB"));
    CHECK(names(refusal(R"({"name": "x"})"), "tables"));
    const std::string text = kSmall;
    for (std::size_t end = 0; end < text.size(); ++end) {
        CHECK_FALSE(parse_scenario(text.substr(0, end), "FILE"));
    }
}

TEST_CASE("a run that goes there and back has an even number of legs") {
    const Result<Scenario> scenario =
        parse_scenario(with("\"repeats\": 2", "\"repeats\": 2, \"legs\": 8"), "FILE");
    REQUIRE(scenario);
    CHECK(scenario->legs == 8);
    CHECK(scenario->quick_legs == 8);
    CHECK(names(refusal(with("\"repeats\": 2", "\"repeats\": 2, \"legs\": 7")), "legs"));
}

TEST_CASE("the built-in scenarios are the files of configs/scenarios, byte for byte") {
    std::set<std::string> files;
    for (const auto& entry :
         std::filesystem::directory_iterator(MIGRATE_SOURCE_DIR "/configs/scenarios")) {
        files.insert(entry.path().stem().string());
    }
    CHECK(builtin_scenarios().size() == files.size());
    for (const BuiltinScenario& builtin : builtin_scenarios()) {
        INFO(builtin.name);
        CHECK(read_file(fmt::format(MIGRATE_SOURCE_DIR "/configs/scenarios/{}.json",
                                    builtin.name)) == builtin.text);
    }
}

TEST_CASE("a folder's scenarios replace the built-in ones, and a path names one file") {
    const TemporaryFolder folder;
    CHECK(names(load_all(folder.path()).error().message(), "has no .json file"));
    CHECK(names(load_all(folder / "none").error().message(), "--scenarios"));
    std::ofstream(folder / "small.json") << kSmall;
    const auto all = load_all(folder.path());
    REQUIRE(all);
    REQUIRE(all->size() == 1);
    CHECK(load_scenario("small", folder.path()));
    CHECK(load_scenario(folder / "small.json", ""));
    const auto wrong = load_scenario("dsa-50", folder.path());
    REQUIRE_FALSE(wrong);
    CHECK(names(wrong.error().message(), "unknown scenario 'dsa-50': use small"));
    CHECK(names(load_scenario("small.json", "").error().message(), "cannot read the scenario"));
}

TEST_CASE("every built-in scenario loads under its file's name") {
    const Result<std::vector<Scenario>> all = load_all("");
    INFO((all ? std::string() : all.error().message()));
    REQUIRE(all);
    CHECK(all->size() >= 10);
    for (const Scenario& scenario : *all) {
        INFO(scenario.name);
        CHECK(load_scenario(scenario.name, ""));
        CHECK_FALSE(scenario.about.empty());
    }
    const auto wrong = load_scenario("dsa-5", "");
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().message().find("'dsa-50'") != std::string::npos);
}
