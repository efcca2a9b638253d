// SPDX-License-Identifier: Apache-2.0
#include "engine/channel_losses.hpp"

#include <algorithm>

namespace migrate::engine {

void ChannelLosses::survive() {
    const MutexLock lock(mutex_);
    survives_ = true;
}

bool ChannelLosses::survives() const {
    const MutexLock lock(mutex_);
    return survives_;
}

void ChannelLosses::count_main_loss() {
    const MutexLock lock(mutex_);
    ++figures_.main_channel_lost;
}

Status ChannelLosses::fail_on_loss() {
    const MutexLock lock(mutex_);
    survives_ = false;
    const auto unsettled = std::find_if(losses_.begin(), losses_.end(),
                                        [](const Loss& loss) { return !loss.settled; });
    return unsettled == losses_.end() ? Status() : Status(unsettled->error);
}

const ChannelLosses::Loss* ChannelLosses::find(ChannelId channel) const {
    const auto found = std::find_if(losses_.begin(), losses_.end(), [channel](const Loss& loss) {
        return loss.channel == channel;
    });
    return found == losses_.end() ? nullptr : &*found;
}

bool ChannelLosses::add(ChannelId channel, const Error& error) {
    if (error.kind() != ErrorKind::kLostConnection && error.kind() != ErrorKind::kTimeout) {
        return false;
    }
    const MutexLock lock(mutex_);
    // The other side reported the loss first, and the session has survived that.
    if (find(channel) != nullptr) return true;
    if (!survives_) return false;
    losses_.push_back({channel, error});
    ++figures_.channels_lost;
    return true;
}

void ChannelLosses::add_reported(ChannelId channel) {
    const MutexLock lock(mutex_);
    if (find(channel) != nullptr) return;
    losses_.push_back(
        {channel, make_error(ErrorKind::kLostConnection, "channel {}: the peer lost the connection",
                             index_of(channel))});
    ++figures_.channels_lost;
}

std::vector<std::uint16_t> ChannelLosses::unsettled() const {
    const MutexLock lock(mutex_);
    std::vector<std::uint16_t> ids;
    for (const Loss& loss : losses_) {
        if (!loss.settled) ids.push_back(index_of(loss.channel));
    }
    std::sort(ids.begin(), ids.end());
    return ids;
}

bool ChannelLosses::is_unsettled(ChannelId channel) const {
    const MutexLock lock(mutex_);
    const Loss* const loss = find(channel);
    return loss != nullptr && !loss->settled;
}

bool ChannelLosses::is_lost(ChannelId channel) const {
    const MutexLock lock(mutex_);
    return find(channel) != nullptr;
}

void ChannelLosses::settle(ChannelId channel, const Cost& cost) {
    const MutexLock lock(mutex_);
    for (Loss& loss : losses_) {
        if (loss.channel != channel || loss.settled) continue;
        loss.settled = true;
        figures_.pages_sent_again += cost.pages;
        figures_.bytes_lost += cost.bytes;
    }
}

std::string ChannelLosses::reason() const {
    const MutexLock lock(mutex_);
    return losses_.empty() ? std::string() : losses_.back().error.message();
}

std::uint16_t ChannelLosses::count() const {
    const MutexLock lock(mutex_);
    return static_cast<std::uint16_t>(losses_.size());
}

void ChannelLosses::add_outage(std::chrono::microseconds time) {
    const MutexLock lock(mutex_);
    ++figures_.outages;
    figures_.duration += time;
}

OutageReport ChannelLosses::report() const {
    const MutexLock lock(mutex_);
    return figures_;
}

}  // namespace migrate::engine
