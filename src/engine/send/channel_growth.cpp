// SPDX-License-Identifier: Apache-2.0
#include "engine/send/channel_growth.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "engine/send/channel_addition.hpp"

namespace migrate::engine {

namespace {

std::uint16_t most_channels(const SendConfig& config, const Agreement& agreement) {
    const std::uint16_t here = config.negotiated.most_channels();
    return std::min(here, agreement.accepted.most_channels.value_or(config.negotiated.channels()));
}

}  // namespace

ChannelGrowth::ChannelGrowth(const Needs& needs, Microseconds answer)
    : needs_(needs),
      tuner_(needs.addition.channels.count(),
             most_channels(needs.addition.config, needs.addition.agreement), answer,
             needs.addition.config.channel_tuning) {
    if (needs.addition.config.detection == ZeroPageDetection::kLegacy) {
        tuner_.stop(ChannelLimit::kOneScanner,
                    "zero-page-detection=legacy: one thread fills the packets of all channels");
    } else if (!needs.addition.agreement.accepted.most_channels) {
        tuner_.stop(ChannelLimit::kReceiver,
                    "the receiver's program cannot add channels while it runs");
    }
    publish();
}

// Counts what the receiver's host has acknowledged: a new channel fills its socket's buffer faster
// than the path carries it.
ChannelProgress ChannelGrowth::progress() const {
    const std::uint64_t under_way = needs_.addition.channels.bytes_under_way();
    const std::uint64_t bytes = needs_.addition.channels.bytes();
    const std::uint64_t pages = needs_.addition.channels.pages().total();
    return {RoundGate::Clock::now(), bytes - std::min(bytes, under_way),
            pages - std::min(pages, under_way / kPageSize)};
}

void ChannelGrowth::begin() {
    if (!tuner_.goes_on()) return;
    tuner_.begin(progress());
    load_.reset();
    next_look_ = RoundGate::Clock::now() + tuner_.interval();
}

std::optional<RoundGate::Clock::time_point> ChannelGrowth::next_look() const {
    if (!tuner_.goes_on()) return std::nullopt;
    return next_look_;
}

Status ChannelGrowth::look() {
    if (needs_.addition.channels.losses().count() != 0) {
        // The throughput shows what the loss did, and not what a further channel would do.
        tuner_.stop(ChannelLimit::kConnection, "a channel was lost");
        publish();
        return {};
    }
    // No decision falls at the end of a first interval, so that a short round does not pay for
    // this.
    const CpuUse cpus = load_ ? load_->since_last() : CpuUse();
    if (!load_) load_.emplace();
    const ChannelHost host{cpus, needs_.control.tunables().max_bandwidth};
    const std::uint16_t wanted = tuner_.judge(progress(), host);
    if (wanted > needs_.addition.channels.count()) {
        MIGRATE_TRY(add(wanted));
        begin();
    }
    next_look_ = RoundGate::Clock::now() + tuner_.interval();
    publish();
    return {};
}

// The paths of further channels: equal parts for each, since none has a number of its own.
std::vector<std::uint16_t> ChannelGrowth::paths_of(std::uint16_t further) const {
    std::vector<std::uint16_t> numbers;
    for (std::uint16_t i = 0; i < needs_.addition.paths.count(); ++i) {
        numbers.push_back(needs_.addition.channels.working_on(i));
    }
    std::vector<std::uint16_t> paths;
    while (paths.size() < further) {
        const auto least = std::min_element(numbers.begin(), numbers.end());
        ++*least;
        paths.push_back(static_cast<std::uint16_t>(least - numbers.begin()));
    }
    std::sort(paths.begin(), paths.end());
    return paths;
}

Status ChannelGrowth::add(std::uint16_t wanted) {
    const std::uint16_t present = needs_.addition.channels.count();
    const auto paths = paths_of(static_cast<std::uint16_t>(wanted - present));
    const Result<Addition> answer = add_channels(needs_.addition, paths);
    if (!answer) return needs_.addition.link.lost() ? Status() : Status(answer.error());
    const Addition& added = *answer;
    if (!added.connected) {
        tuner_.stop(ChannelLimit::kConnection, added.reason);
        return {};
    }
    tuner_.added(added.channels);
    const std::size_t more = added.channels - std::size_t{present};
    for (std::size_t i = 0; i < more; ++i) needs_.addition.paths.want_another(paths[i]);
    if (added.channels < wanted) {
        tuner_.stop(ChannelLimit::kReceiver,
                    fmt::format("the receiver took no further channel: {}", added.reason));
    }
    if (added.channels > present) {
        log::debug("{} channels instead of {}", added.channels, present);
        needs_.addition.core.events().emit("MULTIFD_CHANNELS_ADDED",
                                           {{"channels", std::uint64_t{added.channels}}});
    }
    return {};
}

void ChannelGrowth::publish() {
    const auto published = needs_.published.lock();
    published->channel_limit = tuner_.limit();
    published->channel_reason = tuner_.reason();
}

}  // namespace migrate::engine
