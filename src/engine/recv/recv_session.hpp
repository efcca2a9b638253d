// SPDX-License-Identifier: Apache-2.0
// One migration on the receiver's side: waits for the sender, adopts its settings, places every
// page, commits the result and confirms it. Invariant: run() commits the memory's sink only after
// every page was accounted for and, if agreed on, the digests are equal. It commits the devices'
// sinks last; with a guest, after HANDOVER and before the guest resumes. A session that fails
// earlier commits neither.
#pragma once

#include <memory>
#include <string>

#include "engine/peer_link.hpp"
#include "engine/postcopy/recv_postcopy.hpp"
#include "engine/recv/guest_arrival.hpp"
#include "engine/recv/reception.hpp"
#include "engine/recv/recv_channel_group.hpp"
#include "engine/recv/recv_devices.hpp"
#include "engine/recv/recv_figures.hpp"
#include "engine/recv/recv_rounds.hpp"
#include "engine/report/events.hpp"
#include "engine/report/guest_owner.hpp"
#include "engine/report/report.hpp"
#include "engine/session_config.hpp"
#include "engine/session_core.hpp"
#include "guest/guest.hpp"
#include "memory/sink/page_placer.hpp"
#include "memory/sink/page_sink.hpp"
#include "transport/handshake.hpp"
#include "transport/listener.hpp"

namespace migrate::engine {

class RecvSession {
  public:
    // Creates its own listener unless one is passed in. `events` outlives the session. Fails if it
    // cannot listen on the address or use the sink.
    static Result<std::unique_ptr<RecvSession>> create(
        RecvConfig config, EventLog& events,
        std::unique_ptr<transport::Listener> listener = nullptr);
    ~RecvSession();

    // The address that the session listens on, as "HOST:PORT".
    std::string endpoint() const { return listener_->endpoint(); }
    std::uint16_t port() const { return listener_->port(); }

    // Runs the whole migration on the calling thread. Call once.
    Status run();
    // Called instead of run() if its thread cannot be started: ends the session with this error.
    Status fail(Error reason);
    // Ends run() with kCancelled; the peer is told the reason. Any thread.
    void cancel(const std::string& reason);

    // The guest that arrived and runs in the session's sink; null if none arrived. Call after
    // run().
    guest::Guest* guest() { return arrival_.guest(); }

    // After a successful run(), for the guest's next migration: its memory, the sender's offer, the
    // sender's address, and the listener.
    const memory::PageSink& sink() const { return *destination_.memory; }
    const transport::Offer& offer() const { return offer_; }
    std::string peer_name() const { return link_->peer_name(); }
    std::unique_ptr<transport::Listener> take_listener() {
        reception_.leave_listener();
        return std::move(listener_);
    }

    // The side that has the guest now; certain once run() has ended. Any thread.
    GuestOwner owner() const { return owner_of(*published_.lock()); }
    // The current figures. Any thread.
    Report report() const;
    ThreadTimes& thread_times() { return core_.times(); }

  private:
    RecvSession(RecvConfig config, EventLog& events)
        : config_(std::move(config)),
          core_(events, published_.part(&RecvFigures::session), config_.cpu) {}
    Status migrate();
    Status accept(Reception::Begun& begun);
    Result<transport::Ready> open_channels(Reception::Begun begun);
    Result<bool> complete(const transport::Completion& completion, RecvRounds& rounds);
    void end_threads();
    Status settle(Status result);

    const RecvConfig config_;
    PublishedRecv published_;
    SessionCore core_;
    std::unique_ptr<transport::Listener> listener_;
    guest::Destination destination_;  // its memory is null between two senders
    RecvDevices devices_{config_, core_, published_};
    Reception reception_{config_, core_, destination_, devices_};
    transport::Offer offer_;  // of the sender that was accepted
    RecvPostcopy postcopy_{{config_, core_, published_, destination_, offer_, reception_}};
    GuestArrival arrival_{core_, published_, devices_};  // ends before its memory's faults
    std::unique_ptr<memory::PagePlacer> placer_;
    // The connection.
    std::unique_ptr<PeerLink> link_;
    std::unique_ptr<RecvChannelGroup> channels_;
    bool committed_ = false;  // an image; whether its sender learns that changes nothing
};

}  // namespace migrate::engine
