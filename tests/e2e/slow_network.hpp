// SPDX-License-Identifier: Apache-2.0
// A network between a sender and a receiver that keeps every byte for the same time. Invariant:
// each connection's bytes and ends go through in order, and no sooner than that.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

#include "base/fd.hpp"

namespace migrate::e2e {

class SlowNetwork {
  public:
    // From a port of the kernel's choice to `port`, both on the loopback, by a thread of its own.
    // Each way takes half of `round_trip`.
    SlowNetwork(std::uint16_t port, std::chrono::milliseconds round_trip);
    ~SlowNetwork();
    SlowNetwork(const SlowNetwork&) = delete;
    SlowNetwork& operator=(const SlowNetwork&) = delete;

    std::string endpoint() const { return "127.0.0.1:" + std::to_string(port_); }

  private:
    UniqueFd listener_;
    std::uint16_t port_ = 0;
    UniqueFd stop_;  // an eventfd
    std::thread thread_;
};

}  // namespace migrate::e2e
