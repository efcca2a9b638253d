// SPDX-License-Identifier: Apache-2.0
// The guest that arrives: loads it, takes it over, and decides once whether it runs here.
// Invariant: the sender is told that the guest does not run here, or the guest runs here, but never
// both.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "engine/guest_watcher.hpp"
#include "engine/peer_link.hpp"
#include "engine/recv/recv_devices.hpp"
#include "engine/recv/recv_figures.hpp"
#include "engine/report/guest_owner.hpp"
#include "engine/session_core.hpp"
#include "guest/guest.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {

class GuestArrival {
  public:
    // All outlive this object.
    GuestArrival(SessionCore& core, PublishedRecv& published, RecvDevices& devices)
        : core_(core), published_(published), devices_(devices) {}

    // Watches the process that the guest arrives in, if there is one, until the guest is loaded.
    // Its end ends the session. Another destination that is opened for another sender has the same
    // one.
    Status watch(const guest::Destination& destination);
    // SWITCHOVER_START or HANDOVER came now: the guest is paused at its source. Each of them tells
    // since when, and the earliest moment counts: a frame that came late tells a later one.
    void note_pause(const transport::PauseTime& time);
    // Called after each round in which the guest ran: does what need not wait for its state.
    Status prepare_load();
    // Loads the guest, paused, into the memory that arrived.
    Status load(const guest::Destination& destination, const transport::Offer& offer);
    // Acknowledges with LOADED, and does what can be done before HANDOVER. kLostConnection only if
    // LOADED could not be sent; the rest was done then, too.
    Status acknowledge(PeerLink& link);
    // HANDOVER came: runs the guest. Fills in the times of `done`.
    Result<transport::Done> run(transport::Done done);

    // True if the guest runs here, false if it does not and never will, nothing if that is unknown.
    // A guest that was not resumed yet never will be after this call. Any thread.
    std::optional<bool> settle_fate();
    // Ends the session with this error; returns false and does nothing if the guest was handed over
    // to this side. Any thread.
    bool cancel(Error error);
    bool runs() const { return published_.lock()->fate == GuestFate::kRuns; }

    // Null if none arrived.
    guest::Guest* guest() { return guest_.get(); }
    // The switchover broke off, and the guest runs at its source: drops what was loaded. An Error
    // if another guest cannot be loaded in its place.
    Status undo(const memory::PageSink& memory);
    // Drops a guest that does not run here.
    void drop();

  private:
    using Clock = std::chrono::steady_clock;
    Status resume();

    SessionCore& core_;
    PublishedRecv& published_;
    RecvDevices& devices_;
    std::optional<Clock::time_point> paused_at_;  // at the source; set by note_pause()
    guest::GuestLoader* loader_ = nullptr;        // the destination's; set by watch()
    std::unique_ptr<guest::Guest> guest_;         // lives in the sink's memory
    std::unique_ptr<GuestWatcher> watcher_;
};

// The side that has the guest, as the receiver knows it.
GuestOwner owner_of(const RecvFigures& figures);

}  // namespace migrate::engine
