// SPDX-License-Identifier: Apache-2.0
// Post-copy in a receiving session: whether it is possible, its begin, and the wait for its end.
// Invariant: once the guest runs here, the session does not end before every page is in place.
#pragma once

#include <memory>
#include <string>

#include "base/error.hpp"
#include "engine/peer_link.hpp"
#include "engine/postcopy/postcopy_sink.hpp"
#include "engine/recv/recv_channel_group.hpp"
#include "engine/recv/recv_figures.hpp"
#include "engine/session_config.hpp"
#include "engine/session_core.hpp"
#include "guest/guest.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {

class Reception;

// An Error says why a guest of this offer, which allows post-copy, cannot arrive here.
Status check_postcopy(const transport::Offer& offer, const guest::Destination& destination);

class RecvPostcopy {
  public:
    // All outlive this object.
    struct Needs {
        const RecvConfig& config;
        SessionCore& core;
        PublishedRecv& published;
        const guest::Destination& destination;
        const transport::Offer& offer;
        Reception& reception;
    };
    explicit RecvPostcopy(const Needs& needs) : needs_(needs) {}

    // The sender has sent the first frame of post-copy, between two rounds: from now on a lost
    // connection ends the session, until the guest is handed over. Returns what begin() made if it
    // is called again. kProtocol if the sender did not offer post-copy.
    Result<PostcopySink*> begin(PeerLink& link, RecvChannelGroup& channels);
    // Null before begin().
    PostcopySink* sink() { return postcopy_.get(); }
    // Called once the guest runs here: returns when every page is in place. Has no effect without
    // post-copy.
    void finish();
    // The text for a user who wants to end the session after the handover.
    std::string warning() const;
    void stop() {
        if (postcopy_) postcopy_->stop();
    }

  private:
    const Needs needs_;
    std::unique_ptr<PostcopySink> postcopy_;
};

}  // namespace migrate::engine
