// SPDX-License-Identifier: Apache-2.0
#include "engine/postcopy/postcopy_trigger.hpp"

#include "catch.hpp"
#include "engine/postcopy/fault_latency.hpp"
#include "engine/postcopy/postcopy_progress.hpp"
#include "tests/support/must.hpp"

namespace migrate::engine {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;

Decision next_round(bool exhausted = false) {
    Decision decision;
    decision.action = Action::kNextRound;
    decision.stalled = exhausted;
    if (exhausted) decision.exhausted_at = Microseconds(1);
    return decision;
}

TEST_CASE("the option postcopy takes its four words and nothing else") {
    CHECK_FALSE(must(PostcopyTrigger::parse("off")).is_allowed());
    CHECK(must(PostcopyTrigger::parse("manual")).is_allowed());
    CHECK(must(PostcopyTrigger::parse("on-stall")).is_allowed());
    CHECK(must(PostcopyTrigger::parse("after-round=7")).round == 7);
    for (const char* wrong : {"", "on", "after-round", "after-round=", "after-round=x",
                              "after-round=1 ", "after-round=-1", "after-round=4294967296"}) {
        INFO(wrong);
        const auto parsed = PostcopyTrigger::parse(wrong);
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().kind() == ErrorKind::kUsage);
    }
}

TEST_CASE("post-copy begins when its word says so, or when the user asks for it") {
    const auto manual = must(PostcopyTrigger::parse("manual"));
    CHECK_FALSE(manual.is_due(9, next_round(true), false));
    CHECK(manual.is_due(1, next_round(), true));
    CHECK_FALSE(manual.at_once(false));
    const auto stall = must(PostcopyTrigger::parse("on-stall"));
    CHECK_FALSE(stall.is_due(9, next_round(), false));
    CHECK(stall.is_due(9, next_round(true), false));
    const auto after = must(PostcopyTrigger::parse("after-round=2"));
    CHECK_FALSE(after.at_once(false));
    CHECK_FALSE(after.is_due(1, next_round(), false));
    CHECK(after.is_due(2, next_round(), false));
    CHECK(after.is_due(3, next_round(), false));
    CHECK(must(PostcopyTrigger::parse("after-round=0")).at_once(false));
    CHECK_FALSE(must(PostcopyTrigger::parse("off")).is_due(9, next_round(true), true));
}

TEST_CASE("a stall that would end the migration leads to post-copy, and a switchover does not") {
    Decision gives_up = next_round(true);
    gives_up.action = Action::kGiveUp;
    const auto stall = must(PostcopyTrigger::parse("on-stall"));
    CHECK(stall.is_due(9, gives_up, false));
    Decision fits = next_round();
    fits.action = Action::kSwitchOver;
    CHECK_FALSE(must(PostcopyTrigger::parse("after-round=1")).is_due(4, fits, true));
}

TEST_CASE("latencies are counted in QEMU's buckets, and their quantiles are near the truth") {
    FaultLatency latency;
    CHECK(latency.report().faults == 0);
    CHECK(latency.report().distribution.empty());
    for (int i = 1; i <= 1000; ++i) latency.add(microseconds(i));
    const FaultLatencyReport report = latency.report();
    CHECK(report.faults == 1000);
    CHECK(report.average == nanoseconds(500'500));
    CHECK(report.longest == microseconds(1000));
    CHECK(report.median >= microseconds(500));
    CHECK(report.median <= microseconds(532));
    CHECK(report.p99 >= microseconds(990));
    CHECK(report.p99 <= report.longest);
    REQUIRE(report.distribution.size() == 10);
    CHECK(report.distribution[0] == 1);
    CHECK(report.distribution[8] == 256);
    CHECK(report.distribution[9] == 489);
    latency.add(nanoseconds(-5));
    CHECK(latency.report().distribution[0] == 2);
}

TEST_CASE("the end of post-copy is final, and interruptions are counted") {
    PostcopyProgress progress;
    CHECK(progress.set(PostcopyState::kActive));
    CHECK(progress.await_change(PostcopyState::kNone) == PostcopyState::kActive);
    CHECK(progress.set(PostcopyState::kPaused, "a cable"));
    CHECK(progress.reason() == "a cable");
    CHECK(progress.set(PostcopyState::kRecover));
    CHECK(progress.set(PostcopyState::kPaused));
    CHECK(progress.set(PostcopyState::kActive));
    CHECK(progress.figures().interruptions == 1);
    CHECK(progress.set(PostcopyState::kComplete));
    CHECK_FALSE(progress.set(PostcopyState::kPaused));
    CHECK(progress.state() == PostcopyState::kComplete);
    progress.stop();
    CHECK_FALSE(progress.await_change(PostcopyState::kComplete));
}

}  // namespace
}  // namespace migrate::engine
