// SPDX-License-Identifier: Apache-2.0
// The costs of lost connections, which count in no other figure.
#pragma once

#include <chrono>
#include <cstdint>

namespace migrate::engine {

struct OutageReport {
    std::uint16_t channels_lost = 0;      // data channels
    std::uint64_t main_channel_lost = 0;  // number of times; all data channels are lost with it
    // How often, and for how long altogether, there was no data channel or no main channel; sender
    // only.
    std::uint64_t outages = 0;
    std::chrono::microseconds duration{};
    // Sent on lost channels and not arrived. The pages were sent again; those that a lost channel
    // had claimed and not looked at are not counted. Sender only.
    std::uint64_t pages_sent_again = 0;
    std::uint64_t bytes_lost = 0;
};

}  // namespace migrate::engine
