// SPDX-License-Identifier: Apache-2.0
// Decides when the next round begins. Invariant: rounds that bring the switchover nearer follow one
// another at once; other rounds come at growing intervals, and take at most half of the time if
// fixed costs are the obstacle. It has no clock of its own.
#pragma once

#include "engine/convergence/convergence.hpp"

namespace migrate::engine {

class RoundPacing {
  public:
    // Interval from the start of one round that does not help to the start of the next; doubles
    // each time.
    static constexpr Microseconds kFirstInterval{50'000};
    // Longest interval while the obstacle may vanish by itself: the guest may write less, or the
    // receiver may acknowledge.
    static constexpr Microseconds kLongestInterval{1'000'000};
    // Longest interval while only a new measurement or other parameters can help.
    static constexpr Microseconds kLongestFixedInterval{5'000'000};

    // Called after a decision for another round: returns the time to wait before it.
    Microseconds wait_after(const RoundFigures& figures, const Decision& decision);
    // The parameters have changed: a round that did not help may help now.
    void reset() { interval_ = {}; }

  private:
    Microseconds interval_{};  // the last interval; 0: none
};

}  // namespace migrate::engine
