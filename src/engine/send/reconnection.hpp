// SPDX-License-Identifier: Apache-2.0
// reconnect-timeout: makes the main channel again after its connection was lost. Invariant: each
// attempt has an epoch of its own, later than all before, so that the receiver serves one at most.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/units.hpp"
#include "engine/send/channel_addition.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {

class Reconnection {
  public:
    // Created while the main channel works. All outlive this object.
    Reconnection(const AdditionNeeds& needs, std::span<const RegionInfo> regions)
        : needs_(needs), regions_(regions) {}

    // Where this side is.
    struct Place {
        std::uint32_t round = 0;   // the last one that it began
        bool handed_over = false;  // the guest
    };
    // Makes one attempt, at most for `left`, by the next path. Returns where the receiver is, or
    // nothing if the attempt failed for a reason that may pass, which reason() has. kRefused if the
    // receiver does not know this session, kProtocol if it is elsewhere.
    Result<std::optional<transport::Resumed>> attempt(const Place& here,
                                                      std::chrono::milliseconds left);
    // Why the last attempt failed; empty if none did.
    const std::string& reason() const { return reason_; }

  private:
    Result<std::unique_ptr<transport::ControlChannel>> connect(const Place& here,
                                                               std::chrono::milliseconds left);
    Result<std::optional<transport::Resumed>> failed(const Error& error);

    const AdditionNeeds needs_;
    std::span<const RegionInfo> regions_;
    std::uint16_t epoch_ = 0;
    std::string reason_;
};

}  // namespace migrate::engine
