// SPDX-License-Identifier: Apache-2.0
// The figures of post-copy for a report; both sides.
#pragma once

#include <cstdint>

#include "engine/convergence/convergence_types.hpp"
#include "engine/postcopy/fault_latency.hpp"

namespace migrate::engine {

struct PostcopyReport {
    std::uint64_t missing = 0;   // pages that were missing when the guest began to run there
    std::uint64_t requests = 0;  // pages that the guest waited for
    std::uint64_t normal = 0;    // pages sent or placed with content
    std::uint64_t zero = 0;      // pages of zeros, which cost no page on the wire
    std::uint64_t dropped = 0;   // receiver: pages that came although nobody awaited them
    std::uint64_t bytes = 0;     // from sender to receiver
    Microseconds duration{};     // from the guest running at the receiver until all was in place
    std::uint64_t interruptions = 0;  // how often the connections were lost
    Microseconds paused{};            // the part of duration without connections
    FaultLatencyReport latency{};     // receiver only
};

}  // namespace migrate::engine
