// SPDX-License-Identifier: Apache-2.0
// Functions that both sides use to fill in a report.
#pragma once

#include "engine/channel_list.hpp"
#include "engine/checksum_choice.hpp"
#include "engine/report/counters.hpp"
#include "engine/report/report.hpp"
#include "engine/report/session_figures.hpp"

namespace migrate::engine {

// Sets total_time (until the end, or until now) and setup_time (until the session is active; as
// long as the total if it is not).
void fill_times(Report& report, const SessionFigures& figures);
ChannelReport main_channel_report(std::uint64_t bytes);
ChannelReport channel_report(ChannelId id, std::uint64_t bytes, const ChannelCounters& counters);
// Appends the channel and adds its bytes to the totals.
void add_channel(Report& report, ChannelReport channel);

// Sets the figures of post-copy, and appends its connections as one channel.
void add_postcopy(Report& report, const PostcopyReport& postcopy);

// Pages of all channels of one connection; SendChannel or RecvChannel.
template <typename Channel>
transport::PageCounts pages_of(const ChannelList<Channel>& channels) {
    transport::PageCounts pages;
    channels.each([&](const Channel& channel) { pages += channel.counters().pages.get(); });
    return pages;
}
// Appends them all, and adds their bytes and pages to the totals.
template <typename Channel>
void add_channels(Report& report, const ChannelList<Channel>& channels) {
    channels.each([&](const Channel& channel) {
        add_channel(report, channel_report(channel.id(), channel.bytes(), channel.counters()));
        report.pages += channel.counters().pages.get();
        ++report.multifd.channels;
    });
}
template <typename Channel>
ChecksumReport checksum_report(const ChecksumChoice& choice, const ChannelList<Channel>& channels) {
    ChecksumReport report{.used = choice.used, .reason = choice.reason};
    channels.each([&](const Channel& channel) {
        const ChannelCounters& counters = channel.counters();
        report.with += counters.with_checksum.load(std::memory_order_relaxed);
        report.without += counters.without_checksum.load(std::memory_order_relaxed);
    });
    return report;
}

}  // namespace migrate::engine
