// What the two sides' io-timeouts, which may differ, mean for one session. Invariant: a side that
// is alive is heard several times within the other's io-timeout, whichever of the two is longer.
#pragma once

#include <chrono>
#include <optional>

#include "transport/socket.hpp"

namespace migrate::engine {

struct LinkTimes {
    // How often this side sends when it has nothing else to say.
    std::chrono::milliseconds heartbeat{};
    // A peer that is not heard on the main channel for this long is given up: this side's own.
    std::chrono::milliseconds silence{};
    // Of the data channels, which say nothing of whether the peer is alive: the longer of the two.
    transport::StallLimits data{};
};

// `own` and `peer` are io-timeouts; no `peer`: a program that does not say, which expects the same
// as this side.
LinkTimes make_link_times(std::chrono::milliseconds own,
                          std::optional<std::chrono::milliseconds> peer);

}  // namespace migrate::engine
