// SPDX-License-Identifier: Apache-2.0
// Shows the progress of a migration: on standard error as one line that is rewritten on a terminal
// or plain lines elsewhere, and as events.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/config/choices.hpp"
#include "engine/report/events.hpp"
#include "engine/report/report.hpp"

namespace migrate::cli {

enum class ProgressStyle { kNone, kTerminal, kLines };
ProgressStyle choose_progress(AutoOnOff option, bool is_terminal);

// Returns, for example, "[####------]   43 %  1.72 GiB of 4.00 GiB  2991 MiB/s  0:05 elapsed  0:07
// left". With a guest, from the second round on: "[####------]  round 3  12.96 MiB remaining  117
// MiB/s  0:21 elapsed  0:02 left", at the sender followed by "dirty 5 MiB/s  expected downtime 2538
// ms", and by "throttle 30 %" and "stalled" if they apply.
std::string progress_text(const engine::Report& report);

// Returns, for example, "active, 43 %, 2991 MiB/s, 0:07 left", with a guest also "round 3", and
// "waiting" before a peer is connected. Figures that are not known are left out.
std::string status_text(const engine::Report& report);

class Progress {
  public:
    // `events` outlives this object.
    Progress(ProgressStyle style, engine::EventLog& events) : style_(style), events_(events) {}

    // Recommended interval between calls of update(); less than half a second.
    std::chrono::milliseconds interval() const;
    // Shows the progress, and emits the event MIGRATION_PROGRESS while pages move.
    void update(const engine::Report& report);
    // Ends the rewritten line.
    void finish();

  private:
    void emit(const engine::Report& report);

    ProgressStyle style_;
    engine::EventLog& events_;
    bool shown_ = false;
};

}  // namespace migrate::cli
