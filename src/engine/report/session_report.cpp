// SPDX-License-Identifier: Apache-2.0
#include "engine/report/session_report.hpp"

#include <algorithm>

namespace migrate::engine {

using Clock = std::chrono::steady_clock;

void fill_times(Report& report, const SessionFigures& figures) {
    const auto micros = [](Clock::duration time) {
        return std::chrono::duration_cast<std::chrono::microseconds>(time);
    };
    const Clock::time_point none{};
    if (figures.started == none) return;
    const Clock::time_point end = figures.ended == none ? Clock::now() : figures.ended;
    report.total_time = micros(end - figures.started);
    report.setup_time = micros((figures.active == none ? end : figures.active) - figures.started);
}

ChannelReport main_channel_report(std::uint64_t bytes) {
    ChannelReport report;
    report.name = "main";
    report.bytes = bytes;
    return report;
}

ChannelReport channel_report(ChannelId id, std::uint64_t bytes, const ChannelCounters& counters) {
    return {.name = std::to_string(index_of(id)),
            .bytes = bytes,
            .payload_bytes = counters.payload_bytes.load(std::memory_order_relaxed),
            .device_bytes = counters.device_bytes.load(std::memory_order_relaxed),
            .packets = counters.packets.load(std::memory_order_relaxed),
            .pages = counters.pages.get()};
}

void add_postcopy(Report& report, const PostcopyReport& postcopy) {
    report.postcopy = postcopy;
    ChannelReport channel;
    channel.name = "postcopy";
    channel.bytes = postcopy.bytes;
    channel.payload_bytes = std::min(postcopy.bytes, postcopy.normal * kPageSize);
    add_channel(report, std::move(channel));
}

void add_channel(Report& report, ChannelReport channel) {
    report.transferred += channel.bytes;
    report.payload_bytes += channel.payload_bytes;
    report.channels.push_back(std::move(channel));
}

}  // namespace migrate::engine
