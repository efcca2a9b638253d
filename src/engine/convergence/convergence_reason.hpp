// SPDX-License-Identifier: Apache-2.0
// Explains to people why a guest is not switched over: the obstacle, the numbers, and the limit
// that would be enough.
#pragma once

#include <string>

#include "engine/convergence/convergence.hpp"

namespace migrate::engine {

// Returns the obstacle that keeps `expected` above `limit`. `least`: the expectation with no page
// left.
Obstacle find_obstacle(const Expectation& expected, const Expectation& least, Microseconds limit);

// Returns a sentence about `obstacle`, which is not kNone, with the figures that led to the
// decision.
std::string explain(Obstacle obstacle, const RoundFigures& figures, const Tunables& tunables,
                    const FixedCosts& costs, const Expectation& expected, const Decision& decision);

}  // namespace migrate::engine
