// SPDX-License-Identifier: Apache-2.0
// Tells a user what to do after a run that did not complete. Invariant: it needs no memory, since
// that may be what failed.
#pragma once

#include <string_view>

#include "base/outcome.hpp"
#include "engine/report/guest_owner.hpp"

namespace migrate::cli {

// One sentence; empty if the error has said everything. `owner`: the side that has the guest.
std::string_view advice_for(Outcome outcome, engine::GuestOwner owner);

}  // namespace migrate::cli
