// One migration on the sender's side: connects, negotiates, sends every page and waits for the
// confirmation. Invariant: run() returns success only after the receiver said that all is in place
// and its count of pages is ours. After any failure a guest runs here again, unless it was handed
// over and the receiver did not say that it will never run it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/cancellation.hpp"
#include "base/thread.hpp"
#include "devices/device.hpp"
#include "engine/convergence/convergence.hpp"
#include "engine/convergence/round_pacing.hpp"
#include "engine/devices/device_sender.hpp"
#include "engine/peer_link.hpp"
#include "engine/report/counters.hpp"
#include "engine/report/events.hpp"
#include "engine/report/guest_owner.hpp"
#include "engine/report/migration_status.hpp"
#include "engine/report/report.hpp"
#include "engine/report/round_history.hpp"
#include "engine/round_trip_meter.hpp"
#include "engine/send/digest_meter.hpp"
#include "engine/send/give_up_timer.hpp"
#include "engine/send/legacy_feed.hpp"
#include "engine/send/live_source.hpp"
#include "engine/send/round_gate.hpp"
#include "engine/send/round_plan.hpp"
#include "engine/send/scanner_set.hpp"
#include "engine/send/send_channel.hpp"
#include "engine/send/send_worker.hpp"
#include "engine/send/stall_reporter.hpp"
#include "engine/session_config.hpp"
#include "engine/session_core.hpp"
#include "guest/guest.hpp"
#include "memory/source/page_source.hpp"
#include "transport/handshake.hpp"
#include "transport/pacer.hpp"

namespace migrate::engine {

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
    void change(const Tunables& tunables);
    // Ends the wait of pause-before-switchover; an Error if the migration is not in that wait. Any
    // thread.
    Status continue_switchover();

    // The side that has the guest now; certain once run() has ended. Any thread.
    GuestOwner owner() const;
    // The current figures. Any thread.
    Report report() const;
    ThreadTimes& thread_times() { return core_.times(); }

  private:
    SendSession(SendConfig config, const memory::PageSource& source, EventLog& events);
    Status migrate();
    Status negotiate();
    Status connect_channels();
    Status start_workers();
    Status prepare_devices();
    void offer_devices(transport::Offer& offer) const;
    static Status check_device_answer(const transport::Offer& offer,
                                      const transport::Accept& accepted);
    Status start_devices();
    Status send_devices_in_turn();
    Status migrate_image();
    RoundPlan plan_all() const {
        return RoundPlan::all(source_.regions(), config_.negotiated.channels());
    }
    RoundPlan plan_dirty() const;
    struct ImageEnd {
        transport::Done done;
        Microseconds digest;  // time to compute this side's digest
    };
    Result<ImageEnd> complete_image();
    Status migrate_live();
    Status switch_over(std::uint32_t round, Microseconds expected);
    Status await_continue();
    Result<transport::Done> hand_over(const transport::Completion& completion);
    // A round that was sent: its figures so far, and when it began and was sent.
    struct LiveRound {
        RoundFigures figures;
        std::chrono::steady_clock::time_point began;
        std::chrono::steady_clock::time_point sent;
    };
    Result<LiveRound> send_live_round(std::uint32_t round, RoundPlan plan);
    Result<RoundFigures> await_round_done(const LiveRound& sent);
    Result<transport::Frame> expect_from_receiver(
        std::initializer_list<transport::FrameType> types);
    std::uint64_t bytes_under_way() const;
    Status await_next_round(const RoundFigures& figures, const Decision& decision);
    Status wait_until(std::chrono::steady_clock::time_point moment);
    Status measure_digest(bool first);
    void count_digested();
    FixedCosts fixed_costs() const;
    void publish(const RoundFigures& figures, const Decision& decision);
    Status start_timer();
    void stop_timer();
    void set_timer();
    std::chrono::steady_clock::time_point active_since() const;
    void give_up(GiveUpTimer::Reason reason);
    void say(std::string doing);
    Tunables tunables() const;
    Tunables tunables_for_decision();
    Status run_round(std::uint32_t round, RoundPlan plan);
    Status make_completion(transport::Completion& completion);
    Result<transport::Done> await_done(const transport::Completion& completion);
    void stop_workers();
    Status settle(Status result);
    Status settle_handed_over(Status status);
    Status explain(Status status, Status given_back) const;
    transport::PageCounts sent_pages() const;
    std::uint64_t channel_bytes() const;
    void announce_pass(std::uint32_t round, std::uint64_t pages);
    GuestOwner owner_locked() const;
    void add_guest(Report& report) const;

    SendConfig config_;
    const memory::PageSource& source_;
    SessionCore core_;
    // Null for an image. Used by the main thread; hand_over() is called under mutex_, for cancel().
    std::unique_ptr<LiveSource> live_;
    Convergence convergence_;
    LinkTimes link_times_;  // valid from ACCEPT on
    RoundPacing pacing_;
    StallReporter stall_reporter_;
    RoundTripMeter round_trip_;
    DigestMeter digest_meter_;
    transport::Pacer pacer_;
    bool rate_lifted_ = false;  // for the last round; guarded by mutex_
    RoundGate gate_;
    SendShared shared_;
    std::unique_ptr<ScannerSet> scanners_;
    std::unique_ptr<LegacyFeed> legacy_feed_;
    bool acked_ = false;            // the receiver said that it could run the guest
    Microseconds load_time_{};      // expected, as reported by the receiver
    std::uint64_t zero_pages_ = 0;  // of the first round; a digest reads them, too
    Microseconds digest_time_{};    // expected; 0: nothing is verified
    std::vector<std::unique_ptr<devices::DeviceSource>> device_sources_;  // until start_devices()

    mutable std::mutex mutex_;  // guards the members up to paused_, against report()
    std::unique_ptr<PeerLink> link_;
    std::vector<std::unique_ptr<SendChannel>> channels_;
    transport::Accept accepted_;
    std::unique_ptr<DeviceSender> devices_;  // set once the guest is paused; null: none
    std::vector<std::string> digests_;
    Tunables tunables_;
    bool may_switch_over_ = false;  // migrate-continue came
    bool awaits_continue_ = false;
    std::condition_variable_any continued_;
    bool changed_ = false;  // tunables_ changed since the last decision
    std::condition_variable_any woken_;
    std::string doing_;                            // the phase of the migration: "in round 3"
    std::string last_reason_;                      // why the last decision was not to switch over
    std::optional<Microseconds> out_of_rungs_at_;  // of the last decision
    std::unique_ptr<GiveUpTimer> timer_;           // set while a live migration is active
    std::uint64_t planned_pages_ = 0;
    std::uint64_t dirty_pages_ = 0;
    RoundHistory rounds_;
    DowntimeReport downtime_;
    std::string guest_kind_;
    std::string guest_state_;
    unsigned cpu_throttle_ = 0;
    GuestOwner owner_ = GuestOwner::kNone;
    guest::Activity before_;  // activity when tracking began
    guest::Activity paused_;  // activity when the guest was paused

    std::vector<SessionThread> workers_;
};

}  // namespace migrate::engine
