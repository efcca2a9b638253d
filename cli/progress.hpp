// How far a migration is: one line that rewrites itself on a terminal, plain lines elsewhere. On
// standard error.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "engine/report.hpp"

namespace migrate::cli {

enum class ProgressStyle { kNone, kTerminal, kLines };
// `option` is auto, on or off.
ProgressStyle choose_progress(std::string_view option, bool is_terminal);

// "43 %  1.72 GiB of 4.00 GiB  25.1 Gbit/s  2 s left". `window_bytes` were sent during `window`.
// With a guest, after the first round, "round 3  12.96 MiB remaining  dirty 5 MiB/s  expected
// downtime 2538 ms", and "throttle 30 %" and "stalled" where they apply.
std::string progress_text(const engine::Report& report, std::uint64_t window_bytes,
                          std::chrono::microseconds window);

class Progress {
  public:
    explicit Progress(ProgressStyle style) : style_(style) {}

    // How often update() is worth calling.
    std::chrono::milliseconds interval() const;
    void update(const engine::Report& report);
    // Ends the line that rewrites itself.
    void finish();

  private:
    ProgressStyle style_;
    std::uint64_t last_bytes_ = 0;
    std::chrono::microseconds last_time_{};
    bool shown_ = false;
};

}  // namespace migrate::cli
