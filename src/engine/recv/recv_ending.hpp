// SPDX-License-Identifier: Apache-2.0
// The end of a receiving session, after the sender's COMPLETE was compared: the handover of a
// guest, and DONE, which the sender acknowledges if that was agreed on. The main channel may then
// be lost meanwhile: the sender returns and learns which side has the guest, or that its image is
// complete. Invariant: an answer to a sender that returns says that HANDOVER came exactly if it
// did.
#pragma once

#include <chrono>
#include <optional>

#include "engine/peer_link.hpp"
#include "engine/postcopy/postcopy_sink.hpp"
#include "engine/recv/guest_arrival.hpp"
#include "engine/recv/recv_rounds.hpp"
#include "engine/session_core.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {

class RecvEnding {
  public:
    // All outlive this object.
    struct Needs {
        SessionCore& core;
        PeerLink& link;
        GuestArrival& arrival;
        RecvRounds& rounds;
        std::chrono::milliseconds io_timeout;  // the limit for DONE_ACK
        PostcopySink* postcopy = nullptr;      // null: all pages are in place
    };
    explicit RecvEnding(const Needs& needs) : needs_(needs) {}

    // With a guest that is loaded: acknowledges, waits for HANDOVER, and runs the guest. Fills in
    // the times of `done`. Returns nothing if the sender has kept its guest, and the rounds go on.
    // A failure is told to the sender even if it has to return first.
    Result<std::optional<transport::Done>> take_over(transport::Done done);
    // Sends DONE, again if it got lost, until the sender acknowledges it. What the sender moved is
    // this side's whatever this returns. kLostConnection if the sender did not acknowledge.
    Status confirm(const transport::Done& done);

  private:
    bool survives(const Error& error) const;
    Result<bool> await_handover();
    Result<transport::Resume> rejoin();
    Status confirm_once(const transport::Done& done);
    Status await_completion_again(const transport::Done& done);

    const Needs needs_;
    RecvRounds::Ending guest_;
    bool gone_ = false;  // the sender did not return
};

}  // namespace migrate::engine
