// SPDX-License-Identifier: Apache-2.0
// The wait of a session's thread for the end of post-copy; the same on both sides.
#pragma once

#include "engine/postcopy/postcopy_progress.hpp"
#include "engine/session_core.hpp"

namespace migrate::engine {

// Shows each state of post-copy as the session's. Returns true once every page is in place, false
// after progress.stop(). A stop of the session does not end it: the guest needs its pages.
bool follow_postcopy(SessionCore& core, PostcopyProgress& progress);

// The warning at the begin of post-copy.
void warn_of_postcopy();

}  // namespace migrate::engine
