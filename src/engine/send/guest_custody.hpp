// SPDX-License-Identifier: Apache-2.0
// Decides, on the sending side, which side has the guest. Invariant: the guest is handed over at
// most once, and never in a session that is stopped. After a failure it runs here again if it was
// not handed over, or if the receiver reported that it will never run it.
#pragma once

#include <optional>

#include "base/cancellation.hpp"
#include "base/error.hpp"
#include "engine/send/live_source.hpp"
#include "engine/send/send_figures.hpp"

namespace migrate::engine {

class GuestCustody {
  public:
    // All outlive this object. `live` is null for an image.
    GuestCustody(LiveSource* live, PublishedSend& published, Cancellation& session)
        : live_(live), published_(published), session_(session) {}

    // Ends the session with this error; returns false and does nothing if the guest was handed
    // over. Any thread.
    bool cancel(Error error);

    // After a success the guest belongs to the receiver, and HANDOVER follows. After an Error it
    // stays here: another client resumed it, or the session was stopped.
    Status hand_over();
    // DONE came: everything is in place at the receiver, and a guest runs there.
    void arrived();

    // Called once the session's threads have ended, and before its link ends: resumes a guest that
    // was not handed over.
    void restore();
    // Called once the link has ended: returns the session's result, with a statement on the guest
    // after a failure. `runs_there`: see PeerLink::peer_runs_guest().
    Status settle(Status result, std::optional<bool> runs_there);

  private:
    Status settle_handed_over(Status result, std::optional<bool> runs_there);
    Status explain(Status result, Status restored) const;

    LiveSource* live_;
    PublishedSend& published_;
    Cancellation& session_;
    Status restored_;  // result of restore()
};

}  // namespace migrate::engine
