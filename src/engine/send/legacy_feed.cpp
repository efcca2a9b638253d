#include "engine/send/legacy_feed.hpp"

namespace migrate::engine {

LegacyFeed::LegacyFeed(std::size_t packets, std::uint64_t packet_bytes) {
    for (std::size_t i = 0; i < packets; ++i) {
        empty_.push_back(std::make_unique<transport::PacketBuilder>(packet_bytes));
    }
}

LegacyFeed::Packet LegacyFeed::take_empty(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait(lock, stop, [&] { return !empty_.empty(); })) return nullptr;
    Packet packet = std::move(empty_.back());
    empty_.pop_back();
    return packet;
}

void LegacyFeed::hand_over(Packet packet) {
    {
        const std::scoped_lock lock(mutex_);
        filled_.push_back(std::move(packet));
    }
    changed_.notify_all();
}

void LegacyFeed::end_round() {
    {
        const std::scoped_lock lock(mutex_);
        ended_ = true;
    }
    changed_.notify_all();
}

void LegacyFeed::begin_round() {
    const std::scoped_lock lock(mutex_);
    ended_ = false;
}

LegacyFeed::Packet LegacyFeed::take_filled(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait(lock, stop, [&] { return !filled_.empty() || ended_; })) return nullptr;
    if (filled_.empty()) return nullptr;
    Packet packet = std::move(filled_.front());
    filled_.pop_front();
    return packet;
}

void LegacyFeed::give_back(Packet packet) {
    {
        const std::scoped_lock lock(mutex_);
        empty_.push_back(std::move(packet));
    }
    changed_.notify_all();
}

}  // namespace migrate::engine
