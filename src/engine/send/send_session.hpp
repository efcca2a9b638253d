// SPDX-License-Identifier: Apache-2.0
// One migration on the sender's side: connects, negotiates, sends every page and waits for the
// confirmation. Invariants: run() returns success only after DONE, with equal page counts on both
// sides. After a failure the guest runs here again if it was not handed over, or if the receiver
// reported that it will never run it.
#pragma once

#include <memory>
#include <string>

#include "engine/guest_watcher.hpp"
#include "engine/peer_link.hpp"
#include "engine/postcopy/send_postcopy.hpp"
#include "engine/report/events.hpp"
#include "engine/report/guest_owner.hpp"
#include "engine/report/report.hpp"
#include "engine/send/agreement.hpp"
#include "engine/send/guest_custody.hpp"
#include "engine/send/live_control.hpp"
#include "engine/send/live_source.hpp"
#include "engine/send/paths.hpp"
#include "engine/send/scanner_set.hpp"
#include "engine/send/send_channel_group.hpp"
#include "engine/send/send_devices.hpp"
#include "engine/send/send_figures.hpp"
#include "engine/session_config.hpp"
#include "engine/session_core.hpp"
#include "guest/guest.hpp"
#include "memory/source/page_source.hpp"
#include "transport/pacer.hpp"

namespace migrate::engine {

struct SendParts;

class SendSession {
  public:
    // `source`, `events` and `guest` outlive the session; without a guest the source is an image.
    // Fails if this host cannot do what the configuration asks.
    static Result<std::unique_ptr<SendSession>> create(SendConfig config,
                                                       const memory::PageSource& source,
                                                       EventLog& events,
                                                       guest::Guest* guest = nullptr);
    ~SendSession();

    // Runs the whole migration on the calling thread, which corresponds to QEMU's `live_migration`.
    // Call once.
    Status run();
    // Called instead of run() if its thread cannot be started: ends the session with this error.
    Status fail(Error reason);
    // Ends run() with kCancelled; the peer is told the reason. Has no effect once the guest was
    // handed over. Any thread.
    void cancel(const std::string& reason);
    // Applies from the next decision on, and a wait for the next round ends at once; max-bandwidth,
    // deadline and stall-limit apply at once. Any thread.
    void change(const Tunables& tunables) { control_->change(tunables); }
    // Ends the wait of pause-before-switchover; an Error if the migration is not in that wait. Any
    // thread.
    Status continue_switchover() { return control_->continue_switchover(); }

    // Lets post-copy begin after the present round; an Error if it was not allowed. Any thread.
    Status start_postcopy();

    // The side that has the guest now; certain once run() has ended. Any thread.
    GuestOwner owner() const { return published_.lock()->owner; }
    // The current figures. Any thread.
    Report report() const;
    ThreadTimes& thread_times() { return core_.times(); }

  private:
    SendSession(SendConfig config, const memory::PageSource& source, EventLog& events);
    Status prepare(guest::Guest* guest);
    Status migrate();
    Status watch_guest();
    Result<Agreement> agree();
    Result<Microseconds> open_channels(const Agreement& agreement);
    Status migrate_live(const SendParts& parts);
    void end_threads();
    Status settle(Status result);

    const SendConfig config_;
    const memory::PageSource& source_;
    PublishedSend published_;
    SessionCore core_;
    transport::Pacer pacer_;
    std::unique_ptr<LiveSource> live_;  // null for an image
    SendPostcopy postcopy_{config_, source_, core_, published_};
    // Set by prepare(); they live as long as the session.
    std::unique_ptr<GuestCustody> custody_;
    std::unique_ptr<LiveControl> control_;
    std::unique_ptr<SendDevices> devices_;
    std::unique_ptr<ScannerSet> scanners_;
    // The connection.
    Paths paths_;
    std::unique_ptr<PeerLink> link_;
    std::unique_ptr<SendChannelGroup> channels_;
    std::unique_ptr<GuestWatcher> watcher_;  // of live_
};

}  // namespace migrate::engine
