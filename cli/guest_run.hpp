// What becomes of a guest that a migration left running in this process: it goes on for run-for,
// is paused, checked and reported.
#pragma once

#include "base/config/settings.hpp"
#include "base/error.hpp"
#include "cli/console.hpp"
#include "cli/signals.hpp"
#include "engine/report.hpp"
#include "guest/guest.hpp"

namespace migrate::cli {

// Runs the guest on for the time that the option says or until a signal, then pauses and checks it,
// and completes `report.guest`. An Error if its memory does not hold what it must.
Status run_guest_on(guest::Guest& guest, const Settings& settings, const Signals& signals,
                    const Console& console, engine::Report& report);

}  // namespace migrate::cli
