// One migration on the receiver's side: waits for the sender, adopts its settings, places every
// page, commits the result and confirms it. Invariant: run() commits the memory's sink only after
// every page was accounted for and, if agreed on, the digests are equal; it commits the devices'
// sinks once nothing else is left that can fail. A session that fails leaves no trace in either.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/cancellation.hpp"
#include "base/thread.hpp"
#include "engine/devices/device_receiver.hpp"
#include "engine/peer_link.hpp"
#include "engine/recv/recv_channel.hpp"
#include "engine/report/events.hpp"
#include "engine/report/guest_owner.hpp"
#include "engine/report/migration_status.hpp"
#include "engine/report/report.hpp"
#include "engine/send/round_gate.hpp"
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
    guest::Guest* guest() { return guest_.get(); }

    // After a successful run(), for the guest's next migration: its memory, the sender's offer, the
    // sender's address, and the listener.
    const memory::PageSink& sink() const { return *destination_.memory; }
    const transport::Offer& offer() const { return offer_; }
    std::string peer_name() const { return link_->peer_name(); }
    std::unique_ptr<transport::Listener> take_listener() { return std::move(listener_); }

    // The side that has the guest now; certain once run() has ended. Any thread.
    GuestOwner owner() const;
    // The current figures. Any thread.
    Report report() const;
    ThreadTimes& thread_times() { return core_.times(); }

  private:
    RecvSession(RecvConfig config, EventLog& events);
    Status migrate();
    Status settle(Status result);
    Status await_sender();
    Result<bool> consider(transport::NewConnection connection);
    Result<transport::Offer> examine(const std::string& body);
    Status check_journey(const transport::Journey& journey) const;
    Status accept(transport::NewConnection connection, const transport::Offer& offer);
    Status await_channels();
    Status add_channel(transport::NewConnection connection);
    Status start_workers();
    Status receive_rounds();
    Result<transport::Frame> next_frame();
    Status receive_round(const transport::RoundMark& start);
    Status complete(const transport::Completion& completion);
    Result<std::vector<devices::DeviceSpec>> check_devices(const transport::Offer& offer) const;
    bool on_channels(const transport::Offer& offer,
                     std::span<const devices::DeviceSpec> specs) const;
    Status open_devices(const transport::Offer& offer, std::span<const devices::DeviceSpec> specs);
    void make_devices();
    Status begin_switchover();
    bool awaits_device_frames() const;
    Status receive_device_frame(const std::string& body);
    Status await_devices(transport::Done& done);
    Status commit_devices();
    Status load_guest();
    Status take_over(transport::Done& done);
    std::optional<bool> settle_fate();
    Status resume_guest();
    bool guest_runs() const { return fate_.load() == GuestFate::kRuns; }
    Status compute_digests();
    Status compare_digests(const transport::Completion& completion);
    void stop_workers();
    transport::PageCounts received_pages() const;
    GuestOwner owner_locked() const;

    RecvConfig config_;
    SessionCore core_;
    std::unique_ptr<transport::Listener> listener_;
    guest::Destination destination_;  // its memory is null between two senders
    transport::SessionId session_{};
    LinkTimes link_times_;  // valid from the offer on

    mutable std::mutex mutex_;  // guards the members up to downtime_ against report()
    std::unique_ptr<PeerLink> link_;
    transport::Offer offer_;
    std::vector<std::unique_ptr<RecvChannel>> channels_;  // by channel id; null until connected
    std::vector<std::string> digests_;
    std::unique_ptr<DeviceReceiver> devices_;  // null: no devices
    std::unique_ptr<guest::Guest> guest_;      // lives in the sink's memory
    DowntimeReport downtime_;

    // The fate of a guest that arrives. It leaves kUndecided once: to kResuming by the thread that
    // runs the guest, which then stores the result, or to kAbandoned by the thread that tells the
    // sender of a failure. kUnknown: it is not known whether the guest runs.
    enum class GuestFate { kUndecided, kResuming, kRuns, kAbandoned, kUnknown };
    std::atomic<GuestFate> fate_{GuestFate::kUndecided};
    std::optional<std::chrono::steady_clock::time_point> switchover_began_;
    bool last_round_in_place_ = false;
    std::string guest_state_;                            // received so far; empty: none yet
    bool device_state_ = false;                          // devices come on the data channels
    std::vector<DeviceReceiver::Entry> device_entries_;  // of the offer, until it is accepted
    std::shared_ptr<std::string> device_guest_state_;    // set if the guest's state is a device

    std::unique_ptr<memory::PagePlacer> placer_;
    std::unique_ptr<RoundGate> gate_;
    std::unique_ptr<RecvShared> shared_;
    std::vector<SessionThread> workers_;
};

}  // namespace migrate::engine
