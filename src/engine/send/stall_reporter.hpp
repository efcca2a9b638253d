// SPDX-License-Identifier: Apache-2.0
// Decides when a stall is reported: when it begins, then at growing intervals. Invariant: the
// number of reports grows with the logarithm of the time, however many rounds there are; a stall
// that ends and returns within kForgotten counts as one. It has no clock of its own.
#pragma once

#include <optional>

#include "engine/convergence/convergence.hpp"

namespace migrate::engine {

class StallReporter {
  public:
    // Time from the first report to the second; doubled with each report.
    static constexpr Microseconds kFirstInterval{1'000'000};
    // After this long without a stall, the next stall is a new one.
    static constexpr Microseconds kForgotten{60'000'000};

    // Called after each round: returns true if a stall has to be reported now. `elapsed` never
    // falls.
    bool due(bool stalled, Microseconds elapsed);

  private:
    Microseconds interval_{};  // 0: nothing reported
    Microseconds next_{};
    std::optional<Microseconds> ended_;  // when the last stall ended; empty while a stall lasts
};

}  // namespace migrate::engine
