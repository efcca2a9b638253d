// SPDX-License-Identifier: Apache-2.0
#include "cli/advice.hpp"

#include <string>

#include "catch.hpp"

namespace migrate::cli {
namespace {

using engine::GuestOwner;

TEST_CASE("the advice after a failure says where the guest is") {
    const auto says = [](Outcome outcome, GuestOwner owner, const char* words) {
        return std::string(advice_for(outcome, owner)).find(words) != std::string::npos;
    };
    CHECK(says(Outcome::kFailed, GuestOwner::kSource, "the guest is at the source"));
    CHECK(says(Outcome::kFailed, GuestOwner::kDestination, "the guest is at the destination"));
    CHECK(says(Outcome::kFailed, GuestOwner::kUnknown, "check both hosts"));
    CHECK(says(Outcome::kFailed, GuestOwner::kNone, "no complete copy"));
    CHECK(says(Outcome::kRefused, GuestOwner::kSource, "nothing was moved"));
    CHECK(says(Outcome::kCancelled, GuestOwner::kSource, "the guest is at the source"));
    CHECK(says(Outcome::kNotConverged, GuestOwner::kSource, "change what the message names"));
    CHECK(says(Outcome::kOwnerUnknown, GuestOwner::kUnknown, "check both hosts"));
}

TEST_CASE("there is no advice where the outcome needs none") {
    CHECK(advice_for(Outcome::kCompleted, GuestOwner::kDestination).empty());
    CHECK(advice_for(Outcome::kUsage, GuestOwner::kNone).empty());
    CHECK(advice_for(Outcome::kCancelled, GuestOwner::kNone).empty());
}

}  // namespace
}  // namespace migrate::cli
