// SPDX-License-Identifier: Apache-2.0
#include "bench/headline.hpp"

#include "bench/canned_results.hpp"
#include "catch.hpp"

using namespace migrate::bench;

namespace {

// A variant and, beside it, QEMU, with these times in ms.
Json beside_qemu(double ours, double theirs) {
    Json results = test::results("DSA");
    Json scenario = results["scenarios"][0];
    Json anon = test::variant("anon", "into private memory");
    Json qemu = test::variant("anon-qemu-10", "QEMU: into private memory");
    qemu["peer"] = true;
    Json their_run = test::run("anon-qemu-10", 1, theirs * 1000, 1);
    their_run["peer"] = "QEMU 10.0.2";
    scenario["variants"] = {anon, qemu};
    scenario["runs"] = {test::run("anon", 1, ours * 1000, 1), their_run};
    return scenario;
}

}  // namespace

TEST_CASE("beside QEMU the headline is the worst comparison, and names the best one") {
    Json scenario = beside_qemu(50, 100);
    Headline headline = headline_of(scenario);
    CHECK(headline.ratio == "0.50 ×");
    CHECK(headline.tone == Tone::kBetter);
    CHECK(headline.sentence ==
          "migrate takes 0.50 × the time of QEMU 10.0.2: 50.0 ms against 100.0 ms (into private "
          "memory).");
    Json file = test::variant("file", "into a file");
    Json qemu = test::variant("file-qemu", "QEMU: into a file");
    qemu["peer"] = true;
    scenario["variants"].push_back(file);
    scenario["variants"].push_back(qemu);
    scenario["runs"].push_back(test::run("file", 1, 150'000, 1));
    Json their_run = test::run("file-qemu", 1, 100'000, 1);
    their_run["peer"] = "QEMU 7.2.22";
    scenario["runs"].push_back(their_run);
    headline = headline_of(scenario);
    CHECK(headline.ratio == "1.50 ×");
    CHECK(headline.tone == Tone::kWorse);
    CHECK(headline.sentence.find("the time of QEMU 7.2.22: 150.0 ms") != std::string::npos);
    CHECK(headline.sentence.ends_with(
        "That is the worst of 2 comparisons; the best is 0.50 × (into private memory, QEMU "
        "10.0.2)."));
}

TEST_CASE("a ratio near 1 is neither better nor worse") {
    CHECK(headline_of(beside_qemu(101, 100)).tone == Tone::kNeutral);
}

TEST_CASE("without QEMU the headline is a goal, and a missed one comes first") {
    Json scenario = test::results("DSA")["scenarios"][0];
    scenario["goals"] = {
        {{"figure", "total-time"}, {"by", "median"}, {"of", {"dsa"}}, {"at-most", 2}},
        {{"figure", "total-time"},
         {"by", "median"},
         {"of", {"dsa"}},
         {"against", {"base"}},
         {"at-most", 0.25}}};
    Headline headline = headline_of(scenario);
    CHECK(headline.ratio == "0.50 ×");
    CHECK(headline.tone == Tone::kWorse);
    CHECK(headline.sentence ==
          "Median total time of 'DSA' ÷ 'base <CPU>': 0.5 (1.5 ÷ 3 ms); the goal is at most 0.25. "
          "Goals met: 1 of 2.");
    scenario["goals"].erase(1);
    headline = headline_of(scenario);
    CHECK(headline.ratio == "0.75 ×");
    CHECK(headline.tone == Tone::kBetter);
    CHECK(headline.sentence ==
          "Median total time of 'DSA': 1.5 ms; the goal is at most 2 ms. It is met.");
}

TEST_CASE("without goals the headline is a published figure, and without these the extremes") {
    Json scenario = test::results("DSA")["scenarios"][0];
    CHECK(headline_of(scenario).sentence.find("published, on another machine") !=
          std::string::npos);
    scenario["variants"][0].erase("published");
    const Headline headline = headline_of(scenario);
    CHECK(headline.ratio == "2.00 ×");
    CHECK(headline.sentence ==
          "The total time of 'base <CPU>' is 2.00 × that of 'DSA': 3 ms against 1.5 ms.");
    scenario["variants"].erase(1);
    CHECK(headline_of(scenario).ratio.empty());
    CHECK(headline_of(scenario).sentence == "The total time of 'base <CPU>' is 3 ms.");
}

TEST_CASE("a scenario of which no run succeeded says so") {
    Json scenario = test::results("DSA")["scenarios"][0];
    scenario["runs"] = Json::array();
    const Headline headline = headline_of(scenario);
    CHECK(headline.ratio.empty());
    CHECK(headline.sentence.starts_with("No run succeeded"));
}
