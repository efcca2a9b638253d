// SPDX-License-Identifier: Apache-2.0
#include "engine/report/migration_status.hpp"

#include <set>
#include <vector>

#include "catch.hpp"

namespace migrate::engine {
namespace {

using enum MigrationStatus;

const std::vector<MigrationStatus> kAll{
    kNone,           kSetup,           kActive,     kPreSwitchover, kDevice, kPostcopyActive,
    kPostcopyPaused, kPostcopyRecover, kCancelling, kCancelled,     kFailed, kCompleted};

TEST_CASE("exactly the legal transitions are legal") {
    const std::set<std::pair<MigrationStatus, MigrationStatus>> legal{
        {kNone, kSetup},
        {kSetup, kActive},
        {kActive, kCompleted},
        {kSetup, kCancelling},
        {kActive, kCancelling},
        {kSetup, kFailed},
        {kActive, kFailed},
        {kCancelling, kCancelled},
        {kActive, kPreSwitchover},
        {kActive, kDevice},
        {kPreSwitchover, kDevice},
        {kDevice, kCompleted},
        {kPreSwitchover, kActive},
        {kDevice, kActive},
        {kPreSwitchover, kCancelling},
        {kPreSwitchover, kFailed},
        {kDevice, kCancelling},
        {kDevice, kFailed},
        {kActive, kPostcopyActive},
        {kDevice, kPostcopyActive},
        {kActive, kPostcopyPaused},
        {kDevice, kPostcopyPaused},
        {kPostcopyActive, kPostcopyPaused},
        {kPostcopyActive, kPostcopyRecover},
        {kPostcopyPaused, kPostcopyActive},
        {kPostcopyPaused, kPostcopyRecover},
        {kPostcopyRecover, kPostcopyActive},
        {kPostcopyRecover, kPostcopyPaused},
        {kPostcopyActive, kCompleted},
        {kPostcopyPaused, kCompleted},
        {kPostcopyRecover, kCompleted},
        {kPostcopyActive, kCancelling},
        {kPostcopyPaused, kCancelling},
        {kPostcopyRecover, kCancelling},
        {kPostcopyActive, kFailed},
        {kPostcopyPaused, kFailed},
        {kPostcopyRecover, kFailed},
    };
    for (const MigrationStatus from : kAll) {
        for (const MigrationStatus to : kAll) {
            INFO(name_of(from) << " to " << name_of(to));
            CHECK(may_follow(from, to) == legal.contains({from, to}));
        }
    }
}

TEST_CASE("the final states are those nothing follows") {
    for (const MigrationStatus from : kAll) {
        bool leads_on = false;
        for (const MigrationStatus to : kAll) leads_on = leads_on || may_follow(from, to);
        CHECK(is_final(from) == !leads_on);
    }
}

TEST_CASE("states have QEMU's names") {
    const std::vector<std::string_view> names{
        "none",       "setup",           "active",          "pre-switchover",
        "device",     "postcopy-active", "postcopy-paused", "postcopy-recover",
        "cancelling", "cancelled",       "failed",          "completed"};
    for (std::size_t i = 0; i < kAll.size(); ++i) CHECK(name_of(kAll[i]) == names[i]);
}

TEST_CASE("a cell holds the state it was last advanced to") {
    StatusCell live;
    for (const MigrationStatus status : {kSetup, kActive, kPreSwitchover, kDevice, kCompleted}) {
        live.advance(status);
        CHECK(live.get() == status);
    }
    StatusCell cell;
    CHECK(cell.get() == kNone);
    for (const MigrationStatus status : {kSetup, kActive, kCancelling, kCancelled}) {
        cell.advance(status);
        CHECK(cell.get() == status);
    }
}

TEST_CASE("QEMU has one word for all that is neither completed nor cancelled") {
    for (const OutcomeRow& row : kOutcomes) {
        const MigrationStatus status = final_status_of(row.outcome);
        CHECK(is_final(status));
        CHECK((status == kCompleted) == (row.outcome == Outcome::kCompleted));
        CHECK((status == kCancelled) == (row.outcome == Outcome::kCancelled));
    }
}

}  // namespace
}  // namespace migrate::engine
