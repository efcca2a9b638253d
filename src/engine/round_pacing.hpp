// When the next round begins. Invariant: rounds that bring the switchover nearer follow one another
// at once; those that cannot come at growing intervals, and never take more than half of the time
// where fixed costs are in the way. No clock of its own.
#pragma once

#include "engine/convergence.hpp"

namespace migrate::engine {

class RoundPacing {
  public:
    // From the start of one round that does not help to the start of the next; doubled each time …
    static constexpr Microseconds kFirstInterval{50'000};
    // … up to this while the guest may come to write less by itself,
    static constexpr Microseconds kLongestInterval{1'000'000};
    // … and this where only a new measurement or other parameters can help.
    static constexpr Microseconds kLongestFixedInterval{5'000'000};

    // After a decision for another round: how long to wait before it.
    Microseconds wait_after(const RoundFigures& figures, const Decision& decision);
    // The parameters have changed: what did not help may help now.
    void reset() { interval_ = {}; }

  private:
    Microseconds interval_{};  // the last one; 0: none
};

}  // namespace migrate::engine
