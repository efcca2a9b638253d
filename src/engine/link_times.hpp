// SPDX-License-Identifier: Apache-2.0
// Derives the times of a session from both sides' io-timeouts, which may differ. Invariant: a side
// that is alive is heard several times within the other's io-timeout, whichever of the two is
// longer.
#pragma once

#include <chrono>
#include <optional>

#include "transport/socket.hpp"

namespace migrate::engine {

struct LinkTimes {
    // Interval at which this side sends a heartbeat if it sends nothing else.
    std::chrono::milliseconds heartbeat{};
    // Limits of the data channels: based on the longer io-timeout, since a data channel does not
    // show whether the peer is alive.
    transport::StallLimits data{};
};

// `own` and `peer` are io-timeouts. Without `peer`, the peer's program announces none and expects
// the same as this side.
LinkTimes make_link_times(std::chrono::milliseconds own,
                          std::optional<std::chrono::milliseconds> peer);

}  // namespace migrate::engine
