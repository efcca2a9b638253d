// SPDX-License-Identifier: Apache-2.0
#include "base/outcome.hpp"

#include <set>
#include <string>
#include <vector>

#include "catch.hpp"

namespace migrate {
namespace {

constexpr std::array kAllKinds{
    ErrorKind::kFailed,  ErrorKind::kUsage,          ErrorKind::kCancelled,   ErrorKind::kTimeout,
    ErrorKind::kPeer,    ErrorKind::kLostConnection, ErrorKind::kProtocol,    ErrorKind::kFault,
    ErrorKind::kRefused, ErrorKind::kNotConverged,   ErrorKind::kOwnerUnknown};

Outcome settled_outcome(ErrorKind kind, Stage stage) {
    return outcome_of(settled(Error(kind, "why"), stage));
}

TEST_CASE("the exit codes and words of outcomes are those that callers rely on") {
    std::vector<std::pair<int, std::string>> table;
    for (const OutcomeRow& row : kOutcomes) {
        table.emplace_back(row.exit_code, std::string(row.word));
        CHECK_FALSE(row.meaning.empty());
    }
    CHECK(table == std::vector<std::pair<int, std::string>>{{0, "completed"},
                                                            {1, "failed"},
                                                            {2, "usage"},
                                                            {3, "refused"},
                                                            {4, "cancelled"},
                                                            {5, "not-converged"},
                                                            {6, "owner-unknown"},
                                                            {7, "goal-missed"}});
}

TEST_CASE("every outcome has one row, and its word leads back to it") {
    std::set<int> codes;
    for (const OutcomeRow& row : kOutcomes) {
        CHECK(codes.insert(row.exit_code).second);
        CHECK(name_of(row.outcome) == row.word);
        CHECK(exit_code_of(row.outcome) == row.exit_code);
        CHECK(outcome_from_word(row.word) == row.outcome);
    }
    CHECK_FALSE(outcome_from_word(""));
    CHECK_FALSE(outcome_from_word("Failed"));
    CHECK_FALSE(outcome_from_word("a word of a later release"));
}

TEST_CASE("a success is completed, and an error's kind is its outcome") {
    CHECK(outcome_of(Status()) == Outcome::kCompleted);
    const auto of = [](ErrorKind kind) { return outcome_of(Status(Error(kind, "why"))); };
    CHECK(of(ErrorKind::kUsage) == Outcome::kUsage);
    CHECK(of(ErrorKind::kRefused) == Outcome::kRefused);
    CHECK(of(ErrorKind::kCancelled) == Outcome::kCancelled);
    CHECK(of(ErrorKind::kNotConverged) == Outcome::kNotConverged);
    CHECK(of(ErrorKind::kOwnerUnknown) == Outcome::kOwnerUnknown);
    for (const ErrorKind kind :
         {ErrorKind::kFailed, ErrorKind::kTimeout, ErrorKind::kPeer, ErrorKind::kLostConnection,
          ErrorKind::kProtocol, ErrorKind::kFault}) {
        CHECK(of(kind) == Outcome::kFailed);
    }
}

TEST_CASE("before a page can move this side's errors and a bad peer are refusals") {
    for (const Stage stage : {Stage::kBeforeSession, Stage::kBeforePages}) {
        for (const ErrorKind kind :
             {ErrorKind::kFailed, ErrorKind::kProtocol, ErrorKind::kFault, ErrorKind::kRefused}) {
            CHECK(settled_outcome(kind, stage) == Outcome::kRefused);
        }
        // The network, or a peer that failed: another try may work.
        for (const ErrorKind kind :
             {ErrorKind::kTimeout, ErrorKind::kLostConnection, ErrorKind::kPeer}) {
            CHECK(settled_outcome(kind, stage) == Outcome::kFailed);
        }
        CHECK(settled_outcome(ErrorKind::kCancelled, stage) == Outcome::kCancelled);
    }
    CHECK(settled_outcome(ErrorKind::kUsage, Stage::kBeforeSession) == Outcome::kUsage);
    CHECK(settled_outcome(ErrorKind::kUsage, Stage::kBeforePages) == Outcome::kRefused);
}

TEST_CASE("once pages move nothing is a refusal or wrong usage") {
    for (const ErrorKind kind : kAllKinds) {
        const Outcome outcome = settled_outcome(kind, Stage::kPagesMove);
        CHECK(outcome != Outcome::kRefused);
        CHECK(outcome != Outcome::kUsage);
    }
    CHECK(settled_outcome(ErrorKind::kNotConverged, Stage::kPagesMove) == Outcome::kNotConverged);
    CHECK(settled_outcome(ErrorKind::kOwnerUnknown, Stage::kPagesMove) == Outcome::kOwnerUnknown);
    CHECK(settled_outcome(ErrorKind::kCancelled, Stage::kPagesMove) == Outcome::kCancelled);
}

TEST_CASE("a receiver that said READY believes a sender that refuses, and cannot refuse itself") {
    CHECK(settled_outcome(ErrorKind::kRefused, Stage::kPagesMayMove) == Outcome::kRefused);
    CHECK(settled_outcome(ErrorKind::kFailed, Stage::kPagesMayMove) == Outcome::kFailed);
    CHECK(settled_outcome(ErrorKind::kUsage, Stage::kPagesMayMove) == Outcome::kFailed);
}

TEST_CASE("settling keeps the message") {
    CHECK(settled(Error("disk full"), Stage::kBeforePages).message() == "disk full");
    CHECK(as_refusal(Error("disk full")).message() == "disk full");
}

TEST_CASE("a check without a network refuses, unless the user was wrong or cancelled") {
    for (const ErrorKind kind : kAllKinds) {
        const ErrorKind now = as_refusal(Error(kind, "why")).kind();
        const bool keeps = kind == ErrorKind::kUsage || kind == ErrorKind::kCancelled ||
                           kind == ErrorKind::kOwnerUnknown;
        CHECK(now == (keeps ? kind : ErrorKind::kRefused));
    }
}

}  // namespace
}  // namespace migrate
