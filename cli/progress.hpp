// Shows the progress of a migration on standard error: one line that is rewritten on a terminal,
// plain lines elsewhere.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/config/choices.hpp"
#include "engine/report/report.hpp"

namespace migrate::cli {

enum class ProgressStyle { kNone, kTerminal, kLines };
ProgressStyle choose_progress(AutoOnOff option, bool is_terminal);

// Returns, for example, "43 %  1.72 GiB of 4.00 GiB  25100 mbps  2 s left". `window_bytes` were
// sent during `window`. With a guest, after the first round: "round 3  12.96 MiB remaining  dirty 5
// MiB/s  expected downtime 2538 ms", followed by "throttle 30 %" and "stalled" if they apply.
std::string progress_text(const engine::Report& report, std::uint64_t window_bytes,
                          std::chrono::microseconds window);

class Progress {
  public:
    explicit Progress(ProgressStyle style) : style_(style) {}

    // Recommended interval between calls of update().
    std::chrono::milliseconds interval() const;
    void update(const engine::Report& report);
    // Ends the rewritten line.
    void finish();

  private:
    ProgressStyle style_;
    std::uint64_t last_bytes_ = 0;
    std::chrono::microseconds last_time_{};
    bool shown_ = false;
};

}  // namespace migrate::cli
