// SPDX-License-Identifier: Apache-2.0
// Measures the bandwidth without max-bandwidth, since the last round is sent without it: the last
// pages of each round before it are sent without the limit, too. The next round waits until they
// are paid for, so the limit holds on average. Invariant: at most kLargestTail and the packets
// that the channels fill are sent so in a round.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>

#include "base/units.hpp"
#include "transport/pacer.hpp"

namespace migrate::engine {

class TailProbe {
  public:
    // The tail is what the limit allows in a tenth of a second. Less than kLeastTail would measure
    // threads that wake up, and no path needs more than kLargestTail to be measured.
    static constexpr std::uint64_t kLeastTail = kMiB;
    static constexpr std::uint64_t kLargestTail = 32 * kMiB;

    // `pacer` outlives this object.
    explicit TailProbe(transport::Pacer& pacer) : pacer_(pacer) {}

    // The session's thread calls these between rounds: whether later rounds have tails (they do at
    // first); a round of so many pages begins; a broken one is continued, which measures nothing.
    // The gate that opens the round orders them.
    void want(bool tails) { wanted_ = tails; }
    void begin(std::uint64_t pages);
    void give_up();
    // A channel is about to send these pages of the round. Any thread.
    void count(std::uint64_t pages);
    // All pages were sent. Returns the round's tail; nothing if it had none.
    std::optional<transport::PacerBurst> end();

    // The size of a tail in bytes at this limit in bytes per second; 0 if it is too low or none.
    static constexpr std::uint64_t tail_bytes(std::uint64_t limit) {
        const std::uint64_t bytes = std::min(limit / 10, kLargestTail);
        return bytes < kLeastTail ? 0 : bytes;
    }

  private:
    transport::Pacer& pacer_;
    bool wanted_ = true;
    std::int64_t tail_pages_ = 0;  // 0: no tail in this round
    std::atomic<std::int64_t> pages_left_{0};
};

}  // namespace migrate::engine
