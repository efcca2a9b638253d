// SPDX-License-Identifier: Apache-2.0
// reconnect-timeout: replaces channels that were lost, from the first round until the switchover. A
// new data channel has a new id, and takes the path of the lost one. Invariants: the pauses between
// failed attempts by a path grow; a round waits for a channel only if no data channel or no main
// channel is left, and at most for reconnect-timeout.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/send/channel_addition.hpp"
#include "engine/send/live_control.hpp"
#include "engine/send/reconnection.hpp"
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
    // All outlive this object. The main channel works.
    ChannelRepair(const AdditionNeeds& needs, LiveControl& control,
                  std::span<const RegionInfo> regions)
        : needs_(needs),
          control_(control),
          reconnection_(needs, regions),
          pacing_(needs.paths.count()) {}

    // From now on the session survives the loss of the main channel, unless it does not survive
    // that of data channels.
    void survive();

    // Called by the session's thread.
    void begin() override {}
    std::optional<RoundGate::Clock::time_point> next_look() const override;
    // Makes an attempt if one is due. A failed attempt is no Error, unless the main channel was
    // lost.
    Status look() override;
    // Waits until a channel was replaced. kLostConnection after reconnect-timeout.
    Status await_channel() override;
    void in_round(const transport::RoundMark& mark) override;
    // kLostConnection after reconnect-timeout; else see Reconnection.
    Result<transport::Resumed> rejoin() override;
    void hand_over(const transport::RoundMark& last) override;

  private:
    enum class Needed : std::uint8_t { kMainChannel, kDataChannel };
    bool lacks(Needed needed) const {
        return needs_.link.lost() || (needed == Needed::kDataChannel && needs_.channels.all_lost());
    }
    Status restore(Needed needed);
    Status wait_for(Needed needed);
    Status reconnect(std::chrono::milliseconds left);
    Error too_late() const;
    void begin_outage();
    void end_outage(RoundGate::Clock::time_point began, const Status& ended);
    // Number of lost channels without a replacement: of a path, and of all paths.
    std::uint16_t lacking(std::uint16_t path) const;
    std::uint16_t lacking() const;
    void report_losses();
    // The paths that an attempt takes: those whose time has come, all until one has a channel
    // again, or all.
    enum class By : std::uint8_t { kDuePaths, kFirstPath, kAllPaths };
    Status attempt(By by);
    Status attempt_by(std::uint16_t path);

    const AdditionNeeds needs_;
    LiveControl& control_;
    Reconnection reconnection_;
    transport::RoundMark round_{};  // of in_round()
    bool handed_over_ = false;      // hand_over() was called
    transport::Resumed resumed_{};  // the receiver's last answer
    bool main_is_new_ = false;      // no data channel was made since
    ReconnectPacing main_pacing_;
    std::vector<ReconnectPacing> pacing_;  // of the data channels, by path
    std::uint16_t reported_ = 0;           // lost channels that were logged
    std::string reason_;                   // why the last attempt failed
};

}  // namespace migrate::engine
