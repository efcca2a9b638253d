// Why a guest is not switched over, for people: the obstacle, the numbers, and the limit that would
// do.
#pragma once

#include <string>

#include "engine/convergence.hpp"

namespace migrate::engine {

// What is in the way of `expected` under the decision's limit. `least`: the same with no page left.
Obstacle find_obstacle(const Expectation& expected, const Expectation& least, Microseconds limit);

// A sentence about an obstacle, which is not kNone, by the figures that led to the decision.
std::string explain(Obstacle obstacle, const RoundFigures& figures, const Tunables& tunables,
                    const FixedCosts& costs, const Expectation& expected, const Decision& decision);

}  // namespace migrate::engine
