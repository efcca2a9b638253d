// When a stall is reported: when it begins, then at growing intervals. Invariant: the number of
// reports grows with the logarithm of the time, however many rounds there are; a stall that ends
// and returns within kForgotten counts as one. No clock of its own.
#pragma once

#include <optional>

#include "engine/convergence.hpp"

namespace migrate::engine {

class StallReporter {
  public:
    // From the first report to the second; doubled with each report.
    static constexpr Microseconds kFirstInterval{1'000'000};
    // After so long without a stall the next one is a new one.
    static constexpr Microseconds kForgotten{60'000'000};

    // After each round: whether to report now. `elapsed` never falls.
    bool due(bool stalled, Microseconds elapsed);

  private:
    Microseconds interval_{};  // 0: nothing was reported
    Microseconds next_{};
    std::optional<Microseconds> ended_;  // when the last stall ended; nothing: it lasts
};

}  // namespace migrate::engine
