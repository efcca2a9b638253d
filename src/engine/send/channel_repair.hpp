// reconnect-timeout: replaces data channels that were lost while a round runs. A new channel has an
// id of its own. Invariant: attempts that fail come ever later; a round waits for one only if no
// channel is left, and then at most for reconnect-timeout.
#pragma once

#include <chrono>
#include <optional>

#include "engine/send/channel_addition.hpp"
#include "engine/send/live_control.hpp"
#include "engine/send/send_channel_group.hpp"

namespace migrate::engine {

// When the next attempt to reconnect is due. A pure function of what it is told.
class ReconnectPacing {
  public:
    using Clock = std::chrono::steady_clock;

    // The first attempt after a loss is due at once, unless the last one is recent.
    Clock::time_point due() const { return due_; }
    // An attempt ended at `now`. A connection that is lost soon counts like one that was not made.
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
    // Makes an attempt if one is due. One that fails is no error.
    Status look() override;
    // kLostConnection after reconnect-timeout.
    Status await_channel() override;

  private:
    // Number of lost channels without a replacement.
    std::uint16_t lacking() const;
    Status attempt();

    const AdditionNeeds needs_;
    LiveControl& control_;
    ReconnectPacing pacing_;
    std::uint16_t replaced_ = 0;
    std::uint16_t told_ = 0;  // lost channels that the user was told of
    std::string reason_;      // why the last attempt failed
};

}  // namespace migrate::engine
