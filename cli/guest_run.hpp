// SPDX-License-Identifier: Apache-2.0
// Handles a guest that a migration left running in this process: it runs for run-for, is paused,
// checked and reported.
#pragma once

#include "base/config/settings.hpp"
#include "base/error.hpp"
#include "cli/console.hpp"
#include "cli/signals.hpp"
#include "engine/report/report.hpp"
#include "guest/guest.hpp"

namespace migrate::cli {

// Lets the guest run for the time of the option run-for or until a signal, then pauses and checks
// it, and completes `report.guest`. An Error if its memory has wrong content.
Status run_guest_on(guest::Guest& guest, const Settings& settings, const Signals& signals,
                    const Console& console, engine::Report& report);

}  // namespace migrate::cli
