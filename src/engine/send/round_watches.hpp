// SPDX-License-Identifier: Apache-2.0
// The watches of a connection's rounds, as the two sides agreed: one adds channels, the other one
// replaces lost ones.
#pragma once

#include <optional>
#include <span>

#include "engine/send/channel_growth.hpp"
#include "engine/send/channel_repair.hpp"
#include "engine/send/round_sender.hpp"

namespace migrate::engine {

class RoundWatches {
  public:
    // `rounds` has these watches from now on. `answer`: the time that the receiver's READY took.
    RoundWatches(const ChannelGrowth::Needs& needs, std::span<const RegionInfo> regions,
                 Microseconds answer, RoundSender& rounds) {
        const AdditionNeeds& addition = needs.addition;
        if (addition.config.negotiated.adds_channels()) growth_.emplace(needs, answer);
        if (addition.agreement.accepted.reconnect_timeout) {
            repair_.emplace(addition, needs.control, regions);
            addition.channels.survive_losses();
            // The questions that come first are not asked again.
            if (!addition.agreement.reuse_key) repair_->survive();
        }
        rounds.watch_by({growth_ ? &*growth_ : nullptr, repair_ ? &*repair_ : nullptr});
    }
    RoundWatches(const RoundWatches&) = delete;
    RoundWatches& operator=(const RoundWatches&) = delete;

  private:
    std::optional<ChannelGrowth> growth_;
    std::optional<ChannelRepair> repair_;
};

}  // namespace migrate::engine
