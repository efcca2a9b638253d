// SPDX-License-Identifier: Apache-2.0
// The figures of one network path of a sender.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace migrate::engine {

struct PathReport {
    std::string remote{};  // "HOST:PORT" as it was given
    std::string local{};   // address of this host on the last connection; empty: none was made
    std::string interface_name{};  // that has this address; empty: unknown
    bool main = false;             // the main channel goes by it
    bool mptcp = false;            // both sides use MPTCP on its data channels that work
    // The figures of its data channels.
    std::uint16_t channels = 0;              // that work
    std::uint16_t channels_lost = 0;         // so far
    std::uint64_t bytes = 0;                 // sent, headers included
    std::uint64_t retransmits = 0;           // packets that TCP sent again
    std::chrono::microseconds round_trip{};  // TCP's mean over the channels that work; 0: unknown
    std::uint64_t max_bandwidth = 0;         // bytes per second; 0: no limit
};

}  // namespace migrate::engine
