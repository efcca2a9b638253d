// One migration from the sender's side: connect, negotiate, send every page, have it acknowledged.
// Invariant: run() returns success only after the receiver said that all is in place and its count
// of pages is ours. A guest runs here again after any failure, unless it was handed over and the
// receiver did not say that it will never run it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/cancellation.hpp"
#include "base/thread.hpp"
#include "devices/device.hpp"
#include "engine/convergence.hpp"
#include "engine/counters.hpp"
#include "engine/device_sender.hpp"
#include "engine/events.hpp"
#include "engine/guest_owner.hpp"
#include "engine/legacy_feed.hpp"
#include "engine/live_source.hpp"
#include "engine/migration_status.hpp"
#include "engine/peer_link.hpp"
#include "engine/report.hpp"
#include "engine/round_gate.hpp"
#include "engine/scanner_set.hpp"
#include "engine/send_channel.hpp"
#include "engine/session_config.hpp"
#include "engine/session_core.hpp"
#include "engine/work_cursor.hpp"
#include "guest/guest.hpp"
#include "memory/page_source.hpp"
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

    // The whole migration, on the calling thread, which plays QEMU's `live_migration`. Once.
    Status run();
    // Ends run() with kCancelled; the peer is told the reason. Any thread.
    // Once the guest was handed over it is too late, and nothing happens.
    void cancel(const std::string& reason);
    // From the next decision on; max-bandwidth at once. Any thread.
    void change(const Tunables& tunables);
    // Ends the wait of pause-before-switchover; an Error if there is none. Any thread.
    Status continue_switchover();

    // Where the guest is by now: for certain once run() has ended. Any thread.
    GuestOwner owner() const;
    // The figures as they stand. Any thread.
    Report report() const;
    ThreadTimes& thread_times() { return core_.times(); }

  private:
    SendSession(SendConfig config, const memory::PageSource& source, EventLog& events);
    Status migrate();
    Status negotiate();
    Status connect_channels();
    void start_workers();
    Status prepare_devices();
    void offer_devices(transport::Offer& offer) const;
    static Status check_device_answer(const transport::Offer& offer,
                                      const transport::Accept& accepted);
    Status start_devices();
    Status send_devices_in_turn();
    Status migrate_image(std::uint64_t pages);
    struct ImageEnd {
        transport::Done done;
        Microseconds digest;  // making ours
    };
    Result<ImageEnd> complete_image();
    Status migrate_live();
    Status switch_over(std::uint32_t round, Microseconds expected);
    Status await_continue();
    Result<transport::Done> hand_over(const transport::Completion& completion);
    Result<RoundFigures> run_live_round(std::uint32_t round, std::uint64_t pages);
    Status await_round_done(std::uint32_t round);
    Status time_digest();
    void expect_digest();
    FixedCosts fixed_costs() const;
    void publish(const RoundFigures& figures, const Decision& decision);
    Tunables tunables() const;
    DirtyPages dirty_of(RegionId region) const;
    Status run_round(std::uint32_t round, std::uint64_t pages);
    Status feed_legacy();
    Status work(SendChannel& channel, SpanScanner* scanner);
    Status send_pulled(SendChannel& channel, SpanScanner& scanner, std::uint32_t round);
    Status send_handed_over(SendChannel& channel, std::uint32_t round);
    void classify(RegionId region, const PageRun& run);
    Status make_completion(transport::Completion& completion);
    Result<transport::Done> await_done(const transport::Completion& completion);
    Status await_workers(std::uint32_t round);
    void stop_workers();
    Status settle(Status result);
    Status settle_handed_over(Status status);
    Status explain(Status status, Status given_back) const;
    transport::PageCounts sent_pages() const;
    std::uint64_t channel_bytes() const;
    void add_guest(Report& report) const;

    SendConfig config_;
    const memory::PageSource& source_;
    SessionCore core_;
    // Null for an image. Its main thread's, but that hand_over() is under mutex_, for cancel().
    std::unique_ptr<LiveSource> live_;
    Convergence convergence_;
    std::string last_reason_;  // why the last decision was not to switch over
    transport::Pacer pacer_;
    RoundGate gate_;
    std::unique_ptr<ScannerSet> scanners_;
    std::unique_ptr<LegacyFeed> legacy_feed_;
    std::unique_ptr<WorkCursor> cursor_;  // of the round under way
    bool full_round_ = true;              // it sends all pages, not the dirty ones
    bool acked_ = false;                  // the receiver could run the guest
    Microseconds load_time_{};            // it will take, by the receiver's word
    double digest_us_per_byte_ = 0;       // measured on a sample; 0: nothing is verified
    Microseconds digest_time_{};          // it will take
    PageCounters classified_;
    std::vector<std::unique_ptr<devices::DeviceSource>> device_sources_;  // until they are sent
    DeviceSender* channel_devices_ = nullptr;  // if the channels send them; set before a round

    mutable std::mutex mutex_;  // guards what follows, against report()
    std::unique_ptr<PeerLink> link_;
    std::vector<std::unique_ptr<SendChannel>> channels_;
    transport::Accept accepted_;
    std::unique_ptr<DeviceSender> devices_;  // once the guest stands still; null: there are none
    std::vector<std::string> digests_;
    Tunables tunables_;
    bool may_switch_over_ = false;  // migrate-continue came
    bool awaits_continue_ = false;
    std::condition_variable_any continued_;
    std::uint64_t planned_pages_ = 0;
    std::uint64_t dirty_pages_ = 0;
    std::vector<RoundReport> rounds_;
    DowntimeReport downtime_;
    std::string guest_kind_;
    std::string guest_state_;
    unsigned cpu_throttle_ = 0;
    GuestOwner owner_ = GuestOwner::kNone;
    guest::Activity before_;  // when tracking began
    guest::Activity paused_;  // when it was paused

    std::vector<std::unique_ptr<SessionThread>> workers_;
};

}  // namespace migrate::engine
