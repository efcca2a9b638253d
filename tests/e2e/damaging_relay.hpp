// SPDX-License-Identifier: Apache-2.0
// A network between a sender and a receiver that damages one connection once. Invariant: every
// other byte, and every other connection, goes through as it came.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "base/fd.hpp"

namespace migrate::e2e {

enum class DamageBy {
    kFlip,    // one bit
    kDrop,    // a few bytes do not arrive
    kRepeat,  // a few bytes arrive twice
    kSwap,    // two neighbouring pieces change places
    kCut,     // both ends see the end of the connection
};

struct Damage {
    std::size_t connection = 0;  // in the order they were made: 0 is the main channel
    bool to_receiver = true;     // in this direction
    std::uint64_t at = 0;        // byte of that direction
    DamageBy by = DamageBy::kFlip;
    unsigned size = 1;  // kFlip: number of the bit, 0 … 7; otherwise of a piece, in bytes
};
std::string describe(const Damage& damage);

class DamagingRelay {
  public:
    // From a port of the kernel's choice to `port`, both on the loopback, by a thread of its own.
    DamagingRelay(std::uint16_t port, const Damage& damage);
    ~DamagingRelay();
    DamagingRelay(const DamagingRelay&) = delete;
    DamagingRelay& operator=(const DamagingRelay&) = delete;

    std::string endpoint() const { return "127.0.0.1:" + std::to_string(port_); }
    // True if the bytes that arrived are others than those that came.
    bool has_damaged() const { return has_damaged_.load(); }

  private:
    UniqueFd listener_;
    std::uint16_t port_ = 0;
    UniqueFd stop_;  // an eventfd
    std::atomic<bool> has_damaged_{false};
    std::thread thread_;
};

}  // namespace migrate::e2e
