// The side that has the guest, as far as one side of the migration knows. Invariant: a side names
// an owner only if it is sure; otherwise it says kUnknown, and its error is of the kind
// kOwnerUnknown.
#pragma once

#include <string_view>

namespace migrate::engine {

enum class GuestOwner {
    kNone,         // an image: there is no guest
    kSource,       // the sender has it, running or paused
    kDestination,  // the receiver has it
    kUnknown,      // it was handed over, and this side cannot tell whether it arrived
};

// "none", "source", "destination", "unknown"
constexpr std::string_view name_of(GuestOwner owner) {
    switch (owner) {
        case GuestOwner::kNone:
            return "none";
        case GuestOwner::kSource:
            return "source";
        case GuestOwner::kDestination:
            return "destination";
        case GuestOwner::kUnknown:
            break;
    }
    return "unknown";
}

}  // namespace migrate::engine
