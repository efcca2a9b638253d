// SPDX-License-Identifier: Apache-2.0
// The terms of multifd-channels=auto that configuration and reports share with ChannelTuner.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/enum_names.hpp"

namespace migrate::engine {

// The reason why no further channel is added.
enum class ChannelLimit : std::uint8_t {
    kTime,        // the memory was sent before the throughput was known
    kThroughput,  // the last addition did not raise it by more than a tenth
    kCpu,         // this host has no CPU time left
    kBandwidth,   // max-bandwidth is reached
    kMaximum,     // the largest number is reached
    kReceiver,    // the receiver takes no more
    kConnection,  // another connection could not be made
    kOneScanner,  // zero-page-detection=legacy: one thread fills the packets of all channels
};
constexpr auto enum_names(ChannelLimit) {
    return names_of_enum<ChannelLimit>({{ChannelLimit::kTime, "time"},
                                        {ChannelLimit::kThroughput, "throughput"},
                                        {ChannelLimit::kCpu, "cpu"},
                                        {ChannelLimit::kBandwidth, "max-bandwidth"},
                                        {ChannelLimit::kMaximum, "maximum"},
                                        {ChannelLimit::kReceiver, "receiver"},
                                        {ChannelLimit::kConnection, "connection"},
                                        {ChannelLimit::kOneScanner, "legacy"}});
}

// Set by tests only.
struct ChannelTuning {
    // A thread runs for some milliseconds at a time, so a shorter interval would measure the
    // scheduler.
    std::chrono::milliseconds shortest_interval{25};
    bool always = false;  // adds channels after each interval, whatever it shows
};

}  // namespace migrate::engine
