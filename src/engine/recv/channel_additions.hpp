// SPDX-License-Identifier: Apache-2.0
// multifd-channels=auto and reconnect-timeout at the receiver: takes the channels that the sender
// adds while a round runs; the counterpart of ChannelGrowth and ChannelRepair. Invariant: channels
// that cannot be used leave the session as it is, and after that no more are taken, except in place
// of lost ones.
#pragma once

#include "engine/recv/reception.hpp"
#include "engine/recv/recv_channel_group.hpp"
#include "engine/session_core.hpp"
#include "transport/handshake.hpp"
#include "transport/listener.hpp"

namespace migrate::engine {

class ChannelAdditions {
  public:
    // All outlive this object.
    ChannelAdditions(const SessionCore& core, Reception& reception, transport::Listener& listener,
                     const transport::Offer& offer, RecvChannelGroup& channels)
        : core_(core),
          reception_(reception),
          listener_(listener),
          offer_(offer),
          channels_(channels) {}

    // ADD_CHANNELS came: takes the channels that the sender has connected. Returns the answer;
    // kProtocol if the sender may not add them.
    Result<transport::ChannelCount> take(const transport::ChannelCount& wanted);

  private:
    const SessionCore& core_;
    Reception& reception_;
    transport::Listener& listener_;
    const transport::Offer& offer_;
    RecvChannelGroup& channels_;
    // An addition failed, and the sender must not make another one, except to replace lost
    // channels.
    bool failed_ = false;
};

}  // namespace migrate::engine
