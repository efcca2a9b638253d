// SPDX-License-Identifier: Apache-2.0
#include "engine/send/legacy_feed.hpp"

namespace migrate::engine {

LegacyFeed::LegacyFeed(std::size_t packets, std::uint64_t packet_bytes) {
    for (std::size_t i = 0; i < packets; ++i) {
        empty_.push_back(std::make_unique<transport::PacketBuilder>(packet_bytes));
    }
}

LegacyFeed::Packet LegacyFeed::take_empty(const std::stop_token& stop) {
    MutexLock lock(mutex_);
    if (!changed_.wait(lock, stop, [this]() REQUIRES(mutex_) { return !empty_.empty(); }))
        return nullptr;
    Packet packet = std::move(empty_.back());
    empty_.pop_back();
    return packet;
}

void LegacyFeed::hand_over(Packet packet) {
    {
        const MutexLock lock(mutex_);
        filled_.push_back(std::move(packet));
    }
    changed_.notify_all();
}

void LegacyFeed::end_round() {
    {
        const MutexLock lock(mutex_);
        ended_ = true;
    }
    changed_.notify_all();
}

void LegacyFeed::begin_round() {
    const MutexLock lock(mutex_);
    ended_ = false;
}

LegacyFeed::Packet LegacyFeed::take_filled(const std::stop_token& stop) {
    MutexLock lock(mutex_);
    const auto ready = [this]() REQUIRES(mutex_) { return !filled_.empty() || ended_; };
    if (!changed_.wait(lock, stop, ready)) return nullptr;
    if (filled_.empty()) return nullptr;
    Packet packet = std::move(filled_.front());
    filled_.pop_front();
    return packet;
}

void LegacyFeed::give_back(Packet packet) {
    {
        const MutexLock lock(mutex_);
        empty_.push_back(std::move(packet));
    }
    changed_.notify_all();
}

}  // namespace migrate::engine
