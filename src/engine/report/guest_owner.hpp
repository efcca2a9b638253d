// SPDX-License-Identifier: Apache-2.0
// The side that has the guest, as far as one side of the migration knows. Invariant: a side names
// an owner only if it is sure; otherwise it says kUnknown, and its error is of the kind
// kOwnerUnknown.
#pragma once

#include "base/enum_names.hpp"

namespace migrate::engine {

enum class GuestOwner {
    kNone,         // an image: there is no guest
    kSource,       // the sender has it, running or paused
    kDestination,  // the receiver has it
    kUnknown,      // it was handed over, and this side cannot tell whether it arrived
};

constexpr auto enum_names(GuestOwner) {
    return names_of_enum<GuestOwner>({{GuestOwner::kNone, "none"},
                                      {GuestOwner::kSource, "source"},
                                      {GuestOwner::kDestination, "destination"},
                                      {GuestOwner::kUnknown, "unknown"}});
}

}  // namespace migrate::engine
