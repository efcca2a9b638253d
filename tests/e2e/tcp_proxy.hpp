// SPDX-License-Identifier: Apache-2.0
// A network between a sender and a receiver in which connections break at chosen moments.
// Invariant: up to that moment, and on every other connection, each byte and each end goes through
// as it came.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.hpp"
#include "transport/control_frame.hpp"

namespace migrate::e2e {

// When: exactly one of these is set.
struct CutMoment {
    std::optional<std::chrono::milliseconds> time{};  // since the first connection
    std::optional<std::uint64_t> bytes{};             // forwarded, over all connections, both ways
    std::optional<std::uint64_t> own_bytes{};         // the same over this connection alone
    // The first of this type on the main channel has begun to come, or has gone through. At most
    // one cut of a network.
    std::optional<transport::FrameType> before_frame{};
    std::optional<transport::FrameType> after_frame{};
};

enum class CutBy {
    kFin,    // both ends see an orderly end; what they send from then on vanishes
    kReset,  // both ends see a reset
    kHold,   // both ends see an open connection on which nothing comes any more
};

struct Cut {
    std::size_t connection = 0;  // in the order they were made: 0 is the main channel
    CutBy by = CutBy::kFin;
    CutMoment when{};
};
std::string describe(const Cut& cut);

class TcpProxy {
  public:
    // From a port of the kernel's choice to `port`, both on the loopback, by a thread of its own.
    // Connections after the first `most` are closed at once.
    TcpProxy(std::uint16_t port, std::vector<Cut> cuts, std::size_t most = SIZE_MAX);
    TcpProxy(std::uint16_t port, const Cut& cut) : TcpProxy(port, std::vector<Cut>{cut}) {}
    ~TcpProxy();
    TcpProxy(const TcpProxy&) = delete;
    TcpProxy& operator=(const TcpProxy&) = delete;

    std::string endpoint() const { return "127.0.0.1:" + std::to_string(port_); }
    // True if the moment of a cut came and its connection was there to be cut.
    bool has_cut() const { return cuts_.load() != 0; }
    // Number of such cuts.
    unsigned cuts() const { return cuts_.load(); }

  private:
    UniqueFd listener_;
    std::uint16_t port_ = 0;
    UniqueFd stop_;  // an eventfd
    std::atomic<unsigned> cuts_{0};
    std::thread thread_;
};

}  // namespace migrate::e2e
