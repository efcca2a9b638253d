// SPDX-License-Identifier: Apache-2.0
// zero-page-detection=legacy: the main thread fills packets and hands them over to the channels'
// threads, as QEMU did before multifd scanned for itself. Invariant: a fixed number of packets
// circulates, so the main thread is never more packets ahead than that.
#pragma once

#include <deque>
#include <memory>
#include <stop_token>
#include <vector>

#include "base/mutex.hpp"
#include "transport/packet_builder.hpp"

namespace migrate::engine {

class LegacyFeed {
  public:
    using Packet = std::unique_ptr<transport::PacketBuilder>;

    LegacyFeed(std::size_t packets, std::uint64_t packet_bytes);

    // Main thread: waits for an empty packet to fill; returns null if a stop was requested.
    Packet take_empty(const std::stop_token& stop);
    void hand_over(Packet packet);
    // Main thread: no further packet comes in this round.
    void end_round();
    void begin_round();

    // Channel threads: waits for the next packet to send; returns null at the end of the round or
    // if a stop was requested.
    Packet take_filled(const std::stop_token& stop);
    // Channel threads: gives a cleared packet back.
    void give_back(Packet packet);

  private:
    Mutex mutex_;
    StopCondition changed_;
    std::vector<Packet> empty_ GUARDED_BY(mutex_);
    std::deque<Packet> filled_ GUARDED_BY(mutex_);
    bool ended_ GUARDED_BY(mutex_) = false;
};

}  // namespace migrate::engine
