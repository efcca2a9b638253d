// A network between a sender and a receiver in which one connection breaks at a chosen moment.
// Invariant: up to that moment, and on every other connection, each byte and each end goes through
// as it came.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>

#include "base/fd.hpp"
#include "transport/control_frame.hpp"

namespace migrate::e2e {

// When: exactly one of these is set.
struct CutMoment {
    std::optional<std::chrono::milliseconds> time{};  // since the first connection
    std::optional<std::uint64_t> bytes{};             // forwarded, over all connections, both ways
    // The first of this type on the main channel has begun to come, or has gone through.
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
    TcpProxy(std::uint16_t port, const Cut& cut);
    ~TcpProxy();
    TcpProxy(const TcpProxy&) = delete;
    TcpProxy& operator=(const TcpProxy&) = delete;

    std::string endpoint() const { return "127.0.0.1:" + std::to_string(port_); }
    // True if the moment came and the connection was there to be cut.
    bool has_cut() const { return has_cut_.load(); }

  private:
    UniqueFd listener_;
    std::uint16_t port_ = 0;
    UniqueFd stop_;  // an eventfd
    std::atomic<bool> has_cut_{false};
    std::thread thread_;
};

}  // namespace migrate::e2e
