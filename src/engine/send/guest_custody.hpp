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
    // All outlive this object. `live` is null for an image, which nobody has.
    GuestCustody(LiveSource* live, PublishedSend& published, Cancellation& session)
        : live_(live), published_(published), session_(session) {}

    // Ends the session with this error; returns false and does nothing if the guest was handed
    // over. Any thread.
    bool cancel(Error error);

    // From a success on, the guest belongs to the receiver: HANDOVER follows. An Error keeps it
    // here: somebody else let it run, or the session was stopped.
    Status hand_over();
    // The receiver said that all is in place, and that a guest runs there.
    void arrived();

    // Called once the session's threads have ended, and before its link ends: a guest that
    // certainly belongs to this side runs again.
    void give_back();
    // Called once the link has ended: returns the session's result together with what became of
    // the guest. `runs_there` is a failed receiver's statement.
    Status settle(Status result, std::optional<bool> runs_there);

  private:
    Status settle_handed_over(Status result, std::optional<bool> runs_there);
    Status explain(Status result, Status given_back) const;

    LiveSource* live_;
    PublishedSend& published_;
    Cancellation& session_;
    Status given_back_;
};

}  // namespace migrate::engine
