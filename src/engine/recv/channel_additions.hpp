// multifd-channels=auto at the receiver: takes the channels that the sender adds while a round
// runs; the counterpart of ChannelGrowth. Invariant: channels that cannot be used leave the session
// as it is, and after that no more are taken.
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
    Result<transport::ChannelCount> take(std::uint16_t wanted);

  private:
    const SessionCore& core_;
    Reception& reception_;
    transport::Listener& listener_;
    const transport::Offer& offer_;
    RecvChannelGroup& channels_;
    bool failed_ = false;  // an addition, which the sender must not repeat
};

}  // namespace migrate::engine
