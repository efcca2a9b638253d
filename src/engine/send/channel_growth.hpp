// SPDX-License-Identifier: Apache-2.0
// multifd-channels=auto: adds channels to a connection while a round runs. Invariant: a channel
// sends pages only after the receiver has taken it, and a round ends only after the receiver has
// answered; a channel that cannot be added leaves the session as it was.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/cpu_load.hpp"
#include "engine/peer_link.hpp"
#include "engine/send/agreement.hpp"
#include "engine/send/channel_addition.hpp"
#include "engine/send/channel_tuner.hpp"
#include "engine/send/live_control.hpp"
#include "engine/send/send_channel_group.hpp"
#include "engine/send/send_figures.hpp"
#include "engine/session_config.hpp"
#include "engine/session_core.hpp"

namespace migrate::engine {

class ChannelGrowth final : public RoundWatch {
  public:
    // All outlive this object.
    struct Needs {
        AdditionNeeds addition;
        PublishedSend& published;
        LiveControl& control;
    };
    // `answer`: the time that the receiver's READY took.
    ChannelGrowth(const Needs& needs, Microseconds answer);

    // Called by the session's thread.
    void begin() override;
    std::optional<RoundGate::Clock::time_point> next_look() const override;
    // kCancelled after a stop, kTimeout and kProtocol if the receiver does not answer properly. A
    // connection that cannot be made is no error.
    Status look() override;

  private:
    ChannelProgress progress() const;
    std::vector<std::uint16_t> paths_of(std::uint16_t further) const;
    Status add(std::uint16_t wanted);
    void publish();

    const Needs needs_;
    ChannelTuner tuner_;
    std::optional<CpuLoad> load_;  // from the end of a first interval on
    RoundGate::Clock::time_point next_look_{};
};

}  // namespace migrate::engine
