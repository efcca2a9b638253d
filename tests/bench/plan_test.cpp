// SPDX-License-Identifier: Apache-2.0
#include "bench/plan.hpp"

#include <cstdlib>

#include "base/units.hpp"
#include "bench/host.hpp"
#include "bench/qemu_peer.hpp"
#include "bench/results.hpp"
#include "catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace migrate;
using namespace migrate::bench;

namespace {

Scenario scenario_of(const std::string& variants) {
    const std::string text = R"({"name": "s", "tables": ["latency"], "guest": "8G", "repeats": 2,
        "quick-guest": "1G", "defaults": {"sink": "anon:"}, "variants": [)" +
                             variants + "]}";
    Result<Scenario> scenario = parse_scenario(text, "FILE");
    INFO((scenario ? std::string() : scenario.error().message()));
    REQUIRE(scenario);
    return *std::move(scenario);
}

Plan plan_of(const std::string& variants, const Mode& mode = {}, const Limits& limits = {}) {
    return make_plan(scenario_of(variants), mode, limits);
}

constexpr const char* kHalf = R"({"name": "half", "source": "image:mixed:50", "peer": true})";

}  // namespace

TEST_CASE("sizes follow the mode and the scale, in whole huge pages") {
    const Limits limits{.memory = 100 * kGiB, .dsa = false, .peer_missing = ""};
    CHECK(plan_of(kHalf, {}, limits).variants[0].guest == 8 * kGiB);
    CHECK(plan_of(kHalf, {.quick = true, .scale = 0.5, .peer = false}, limits).variants[0].guest ==
          512 * kMiB);
    CHECK(scaled_guest(kGiB, 0.0001) == 16 * kMiB);
    CHECK(scaled_guest(100 * kMiB, 0.33) == 32 * kMiB);
}

TEST_CASE("a run that does not fit is discarded or skipped, with the reason") {
    const Plan fits = plan_of(kHalf, {}, {.memory = 17 * kGiB, .dsa = false, .peer_missing = ""});
    CHECK(fits.variants[0].sink == "anon:");
    // Every huge page of the receiver takes some of the scattered pages.
    CHECK(fits.variants[0].warm == 8 * kGiB);
    CHECK(fits.runs() == 3);
    const Plan half = plan_of(kHalf, {}, {.memory = 9 * kGiB, .dsa = false, .peer_missing = ""});
    CHECK(half.variants[0].sink == "null:");
    REQUIRE(half.variants[0].notes.size() == 1);
    CHECK(half.variants[0].notes[0].find("do not fit") != std::string::npos);
    const Plan none = plan_of(kHalf, {}, {.memory = kGiB, .dsa = false, .peer_missing = ""});
    CHECK(none.variants[0].skipped.find("are needed") != std::string::npos);
    CHECK(none.runs() == 0);
}

TEST_CASE("the ratio knob's pages count as received content") {
    const std::string knob = R"({"name": "knob", "source": "anon:{size},fill=read,huge=off",
        "send": {"multifd-normal-page-ratio": 50}})";
    const Plan plan = plan_of(knob, {}, {.memory = 2 * kGiB, .dsa = false, .peer_missing = ""});
    CHECK(plan.variants[0].sink == "null:");
}

TEST_CASE("without a work queue the software device runs, labelled") {
    const std::string dsa = R"({"name": "dsa", "label": "DSA", "source": "anon:{size}",
        "send": {"zero-page-detection": "dsa-accel"}})";
    const Limits limits{.memory = 64 * kGiB, .dsa = false, .peer_missing = ""};
    const Plan software = plan_of(dsa, {}, limits);
    CHECK(option_in(software.variants[0].send, "accel-path") == "softdsa:2");
    CHECK(software.variants[0].label == "DSA (software device)");
    REQUIRE(software.variants[0].notes.size() == 2);
    CHECK(software.variants[0].guest == kGiB);
    CHECK(software.variants[0].source == "anon:1G");
    CHECK(software.variants[0].notes[1].find("1.00 GiB only") != std::string::npos);
    CHECK(
        plan_of(dsa, {.quick = true, .scale = 1, .peer = false}, limits).variants[0].notes.size() ==
        1);
    Limits hardware = limits;
    hardware.dsa = true;
    const Plan real = plan_of(dsa, {}, hardware);
    CHECK(option_in(real.variants[0].send, "accel-path").empty());
    CHECK(real.variants[0].guest == 8 * kGiB);
}

TEST_CASE("the peer runs right behind us, or says why not") {
    const Mode mode{.quick = false, .scale = 1, .peer = true};
    const Plan plan = plan_of(kHalf, mode, {.memory = 64 * kGiB, .dsa = false, .peer_missing = ""});
    REQUIRE(plan.variants.size() == 2);
    CHECK(plan.variants[1].peer.has_value());
    CHECK(plan.variants[1].name == "half-qemu");
    CHECK(plan.variants[1].skipped.empty());
    const Plan missing =
        plan_of(kHalf, mode, {.memory = 64 * kGiB, .dsa = false, .peer_missing = "no QEMU"});
    CHECK(missing.variants[1].skipped == "no QEMU");
    CHECK(plan_of(kHalf, {}, {}).variants.size() == 1);
}

TEST_CASE("more than one QEMU runs behind us, each with its own program or reason") {
    const Mode mode{.quick = false, .scale = 1, .peer = true};
    Limits limits{.memory = 64 * kGiB, .dsa = false, .peer_missing = ""};
    limits.more_peers = {
        {.name = "qemu-10", .label = "QEMU 10", .program = "/opt/qemu", .major = "10"},
        {.name = "qemu-11",
         .label = "QEMU 11",
         .program = "/none",
         .missing = "there is no /none"}};
    const Plan plan = plan_of(kHalf, mode, limits);
    REQUIRE(plan.variants.size() == 4);
    CHECK(plan.variants[1].peer->program == "qemu-system-x86_64");
    CHECK(plan.variants[2].name == "half-qemu-10");
    CHECK(plan.variants[2].label == "QEMU 10: half");
    CHECK(plan.variants[2].peer->program == "/opt/qemu");
    CHECK(plan.variants[2].skipped.empty());
    CHECK(plan.variants[3].skipped == "there is no /none");
}

TEST_CASE("QEMU 10 is the one that MIGRATE_BENCH_QEMU names, or the unpacked one") {
    const TemporaryFolder folder;
    const auto with = [](const char* name, const std::string& value) {
        REQUIRE(::setenv(name, value.c_str(), 1) == 0);
    };
    with("MIGRATE_BENCH_QEMU", folder / "none");
    CHECK(qemu_10().missing.find("MIGRATE_BENCH_QEMU names one") != std::string::npos);
    with("MIGRATE_BENCH_QEMU", "/bin/true");
    CHECK(qemu_10().missing.empty());
    CHECK(qemu_10().program == "/bin/true");
    with("MIGRATE_BENCH_QEMU", "");
    with("XDG_CACHE_HOME", folder.path());
    CHECK(qemu_10().program == folder / "migrate/test-systems/qemu-10/qemu-system-x86_64");
    ::unsetenv("MIGRATE_BENCH_QEMU");
    ::unsetenv("XDG_CACHE_HOME");
}

TEST_CASE("the three kinds of zeros have names of their own") {
    const OptionList read{{"skip-unpopulated", "off"}};
    CHECK(backing_of("anon:{size},fill=read,huge=off", read) == "shared 4 KiB zero page, read");
    CHECK(backing_of("anon:{size},fill=read,huge=on", read) == "huge zero page, read");
    CHECK(backing_of("anon:{size},fill=zero", {}) == "touched zeros, read");
    CHECK(backing_of("anon:{size}", {}) == "never touched, not read");
    CHECK(backing_of("anon:{size}", read) == "never touched, read");
}

TEST_CASE("results go on only with the same mode and the same scenario") {
    const TemporaryFolder folder;
    const std::string path = folder / "results.json";
    const Limits limits{.memory = 64 * kGiB, .dsa = false, .peer_missing = ""};
    const Plan plan = plan_of(kHalf, {}, limits);
    Results results = Results::begin(path, {});
    Result<Json*> scenario = results.scenario(plan);
    REQUIRE(scenario);
    (**scenario)["runs"].push_back({{"variant", "half"}, {"turn", 1}});
    (**scenario)["runs"].push_back({{"variant", "half"}, {"turn", 2}, {"error", "no"}});
    REQUIRE(results.save());
    Result<Results> resumed = Results::resume(path, {});
    REQUIRE(resumed);
    const Result<Json*> kept = resumed->scenario(plan);
    REQUIRE(kept);
    CHECK(has_run(**kept, "half", 1));
    CHECK_FALSE(has_run(**kept, "half", 2));
    CHECK_FALSE(has_run(**kept, "half", 0));
    CHECK_FALSE(Results::resume(path, {.quick = true, .scale = 1, .peer = false}));
    CHECK_FALSE(Results::resume(folder / "none.json", {}));
    const std::string other = R"({"name": "half", "source": "image:mixed:51"})";
    CHECK_FALSE(resumed->scenario(plan_of(other, {}, limits)));
}
