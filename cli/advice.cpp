// SPDX-License-Identifier: Apache-2.0
#include "cli/advice.hpp"

namespace migrate::cli {
namespace {

using engine::GuestOwner;

std::string_view after_failure(GuestOwner owner) {
    switch (owner) {
        case GuestOwner::kSource:
            return "the guest is at the source; remove the cause and start both sides "
                   "again";
        case GuestOwner::kDestination:
            return "the guest is at the destination";
        case GuestOwner::kUnknown:
            return "check both hosts before you run the guest on either";
        case GuestOwner::kNone:
            return "the destination has no complete copy; remove the cause and start both sides "
                   "again";
    }
    return {};
}

}  // namespace

std::string_view advice_for(Outcome outcome, GuestOwner owner) {
    switch (outcome) {
        case Outcome::kFailed:
            return after_failure(owner);
        case Outcome::kRefused:
            return "nothing was moved; change what the message names and start again";
        case Outcome::kCancelled:
            return owner == GuestOwner::kSource ? "the guest is at the source" : std::string_view();
        case Outcome::kNotConverged:
            return "the guest is at the source; change what the message names and start "
                   "both sides again";
        case Outcome::kOwnerUnknown:
            return "check both hosts before you run the guest on either; the source keeps its "
                   "guest paused";
        default:
            return {};
    }
}

}  // namespace migrate::cli
