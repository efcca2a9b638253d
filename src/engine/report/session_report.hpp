// Functions that both sides use to fill in a report.
#pragma once

#include <chrono>

#include "engine/report/counters.hpp"
#include "engine/report/report.hpp"

namespace migrate::engine {

// Points in time of a session; the epoch stands for "not yet".
struct SessionTimes {
    std::chrono::steady_clock::time_point started;
    std::chrono::steady_clock::time_point active;
    std::chrono::steady_clock::time_point ended;
};

// Sets total_time (until the end, or until now) and setup_time (until the session is active; as
// long as the total if it is not).
void fill_times(Report& report, const SessionTimes& times);
ChannelReport main_channel_report(std::uint64_t bytes);
ChannelReport channel_report(ChannelId id, std::uint64_t bytes, const ChannelCounters& counters);
// Appends the channel and adds its bytes to the totals.
void add_channel(Report& report, ChannelReport channel);

}  // namespace migrate::engine
