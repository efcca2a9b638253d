// SPDX-License-Identifier: Apache-2.0
#include "bench/baseline.hpp"

#include "base/units.hpp"
#include "bench/figures.hpp"
#include "bench/loops/loop.hpp"
#include "bench/scenario_text.hpp"

using namespace migrate;
using namespace migrate::bench;
using test::parsed;
using test::refusal_of;

namespace {

constexpr const char* kVariant = R"({"name": "v"})";

std::string baselines(const std::string& list) { return ", \"baselines\": [" + list + "]"; }

Plan plan_with(const std::string& list, const Limits& limits) {
    return make_plan(parsed(kVariant, baselines(list)), {}, limits);
}

}  // namespace

TEST_CASE("the words of a baseline are parsed, and written as they were parsed") {
    for (const char* words :
         {"iperf3:streams=8", "network:channels=8,receiver=truncate,pages=small,chunk=256K,size=1G",
          "read:threads=2,pages=huge,size=64M", "copy:threads=1,pages=small"}) {
        const Result<BaselineSpec> spec = parse_baseline(words);
        INFO(words);
        REQUIRE(spec);
        CHECK(spec->words() == words);
    }
    CHECK(parse_baseline("read")->threads == 1);
    CHECK(parse_baseline("network:channels=8")->receiver == Receiver::kDiscard);
}

TEST_CASE("wrong words of a baseline are refused by name") {
    const auto refuses = [](const char* words, std::string_view why) {
        const Result<BaselineSpec> spec = parse_baseline(words);
        INFO(words);
        REQUIRE_FALSE(spec);
        CHECK(spec.error().kind() == ErrorKind::kUsage);
        INFO(spec.error().message());
        CHECK(spec.error().message().find(why) != std::string::npos);
    };
    refuses("", "no baseline");
    refuses("iperf2:streams=1", "use iperf3, network, read or copy");
    refuses("iperf3:streams=0", "from 1 to 255");
    refuses("iperf3:streams=256", "from 1 to 255");
    refuses("iperf3:streams", "from 1 to 255");
    refuses("iperf3:threads=1", "did you mean 'streams'?");
    refuses("network:receiver=hug",
            "use discard, truncate, huge, small, shared, small-copy or shared-copy");
    refuses("network:chunk=3", "in whole pages");
    refuses("network:chunk=65M", "from 4K to 64M");
    refuses("read:pages=large", "use huge or small");
    refuses("copy:size=x", "no size");
    refuses("copy:,", "unknown word ''");
}

TEST_CASE("baselines follow the variants, and a sweep makes several") {
    const Scenario scenario =
        parsed(kVariant, baselines(R"({"name": "iperf3", "run": "iperf3:streams=2"},
                     {"name": "read", "label": "{n} threads", "sweep": {"n": [1, 2]}, "guest": "32M",
                      "run": "read:threads={n}"})"));
    REQUIRE(scenario.variants.size() == 4);
    CHECK_FALSE(scenario.variants[0].baseline);
    CHECK(scenario.variants[1].label == "iperf3:streams=2");
    CHECK(scenario.variants[1].guest == 64 * kMiB);
    CHECK(scenario.variants[3].name == "read-2");
    CHECK(scenario.variants[3].label == "2 threads");
    CHECK(scenario.variants[3].baseline->threads == 2);
    CHECK(scenario.variants[3].guest == 32 * kMiB);
}

TEST_CASE("a wrong baseline is refused with its name and the reason") {
    const auto refuses = [](const std::string& list, std::string_view why) {
        const std::string message = refusal_of(kVariant, baselines(list));
        INFO(message);
        CHECK(message.find(why) != std::string::npos);
    };
    refuses("", "baselines is no list");
    refuses("1", "baseline ''");
    refuses(R"({"name": "b"})", "baseline 'b': run is missing");
    refuses(R"({"name": "b", "run": "iperf"})", "baseline 'b': run: 'iperf' is no baseline");
    refuses(R"({"name": "b", "run": "read:size=1G"})", "the size is the baseline's guest");
    refuses(R"({"name": "b", "run": "read", "send": {}})", "unknown key 'send'");
    refuses(R"({"name": "v", "run": "read"})", "twice");
    refuses(R"({"name": "B", "run": "read"})", "name 'B'");
    CHECK(refusal_of(kVariant, R"(, "legs": 2)" + baselines(R"({"name": "b", "run": "read"})"))
              .find("there and back") != std::string::npos);
}

TEST_CASE("a baseline that cannot run is skipped with the reason") {
    const Limits limits{.memory = 100 * kMiB,
                        .dsa = false,
                        .peer_missing = "",
                        .iperf3_missing = "iperf3 is not installed"};
    const Plan plan = plan_with(R"({"name": "iperf3", "run": "iperf3"},
                                   {"name": "read", "run": "read"},
                                   {"name": "copy", "run": "copy"},
                                   {"name": "discard", "run": "network"},
                                   {"name": "huge", "run": "network:receiver=huge"})",
                                limits);
    REQUIRE(plan.variants.size() == 6);
    CHECK(plan.variants[1].skipped == "iperf3 is not installed");
    CHECK(plan.variants[2].skipped.empty());
    CHECK(plan.variants[3].skipped.find("128.00 MiB of memory are needed") != std::string::npos);
    CHECK(plan.variants[4].skipped.empty());
    CHECK_FALSE(plan.variants[5].skipped.empty());
    CHECK(plan_with(R"({"name": "iperf3", "run": "iperf3"})",
                    {.memory = kGiB, .dsa = false, .peer_missing = "no QEMU", .iperf3_missing = ""})
              .variants[1]
              .skipped.empty());
}

TEST_CASE("the bare loops that need no other process give their figures") {
    for (const char* words : {"read:threads=2,pages=huge,size=16M", "read:pages=small,size=16M",
                              "copy:threads=2,size=16M"}) {
        INFO(words);
        const Result<Json> figures = run_loop(*parse_baseline(words));
        REQUIRE(figures);
        CHECK(number_at(*figures, {"bytes"}) == 16 * kMiB);
        CHECK(number_at(*figures, {"seconds"}).value_or(0) > 0);
    }
    CHECK(run_loop(*parse_baseline("read")).error().message().find("needs a size") !=
          std::string::npos);
    CHECK(run_loop(*parse_baseline("iperf3")).error().message().find("no bare loop") !=
          std::string::npos);
}
