// reconnect-timeout: replaces lost data channels while a round runs. A new channel has a new id.
// Invariants: the pauses between failed attempts grow; a round waits for a channel only if none is
// left, and at most for reconnect-timeout.
#pragma once

#include <chrono>
#include <optional>

#include "engine/send/channel_addition.hpp"
#include "engine/send/live_control.hpp"
#include "engine/send/send_channel_group.hpp"

namespace migrate::engine {

// The times of the attempts to reconnect. They depend on nothing but the arguments of tried().
class ReconnectPacing {
  public:
    using Clock = std::chrono::steady_clock;

    // The time of the next attempt. After a loss it has passed already, unless the last attempt was
    // recent.
    Clock::time_point due() const { return due_; }
    // An attempt ended at `now`. One that succeeded makes the pause longer too: if its connection
    // is lost soon, it was not better than a failure.
    void tried(Clock::time_point now);

  private:
    Clock::time_point due_{};
    Clock::time_point tried_{};
    std::chrono::milliseconds pause_{};
};

class ChannelRepair final : public LossWatch {
  public:
    // All outlive this object.
    ChannelRepair(const AdditionNeeds& needs, LiveControl& control)
        : needs_(needs), control_(control) {}

    // Called by the session's thread.
    void begin() override {}
    std::optional<RoundGate::Clock::time_point> next_look() const override;
    // Makes an attempt if one is due. A failed attempt is no Error.
    Status look() override;
    // Waits until a channel was replaced. kLostConnection after reconnect-timeout.
    Status await_channel() override;

  private:
    // Number of lost channels without a replacement.
    std::uint16_t lacking() const;
    Status attempt();

    const AdditionNeeds needs_;
    LiveControl& control_;
    ReconnectPacing pacing_;
    std::uint16_t replaced_ = 0;
    std::uint16_t reported_ = 0;  // lost channels that were logged
    std::string reason_;          // why the last attempt failed
};

}  // namespace migrate::engine
