// SPDX-License-Identifier: Apache-2.0
// The network's round trip as the session sees it: from a frame to the peer's answer, including any
// relay between them (the kernel knows only its own end of the connection).
#pragma once

#include <algorithm>
#include <optional>

#include "engine/convergence/convergence.hpp"

namespace migrate::engine {

// An answer may wait for data in transit, or for a thread at the peer, so the shortest time is the
// round trip. The rest of a longer time counts as part of its round.
class RoundTripMeter {
  public:
    void add(Microseconds answer_time) {
        shortest_ = shortest_ ? std::min(*shortest_, answer_time) : answer_time;
    }
    // 0 before the first answer.
    Microseconds value() const { return shortest_.value_or(Microseconds(0)); }

  private:
    std::optional<Microseconds> shortest_;
};

}  // namespace migrate::engine
