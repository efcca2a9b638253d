// SPDX-License-Identifier: Apache-2.0
// The parts of post-copy that are the same on both sides: the wait of a session's thread for its
// end, the warning, and the figures that both have.
#pragma once

#include "engine/postcopy/page_sender.hpp"
#include "engine/postcopy/postcopy_progress.hpp"
#include "engine/postcopy/postcopy_report.hpp"
#include "engine/session_core.hpp"

namespace migrate::engine {

// Shows each state of post-copy as the session's. Returns true once every page is in place, false
// after progress.stop(). A stop of the session does not end it: the guest needs its pages.
bool follow_postcopy(SessionCore& core, PostcopyProgress& progress);

// The warning at the begin of post-copy.
void warn_of_postcopy();

// A report with the progress and the pages that were sent or placed.
PostcopyReport report_of(const PostcopyProgress& progress, const PostcopyPages& pages);

}  // namespace migrate::engine
