// One migration from the sender's side: connect, negotiate, send every page, have it acknowledged.
// Invariant: run() returns success only after the receiver said that all is in place and its count
// of pages is ours.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/cancellation.hpp"
#include "base/thread.hpp"
#include "engine/counters.hpp"
#include "engine/events.hpp"
#include "engine/legacy_feed.hpp"
#include "engine/migration_status.hpp"
#include "engine/peer_link.hpp"
#include "engine/report.hpp"
#include "engine/round_gate.hpp"
#include "engine/send_channel.hpp"
#include "engine/session_config.hpp"
#include "engine/span_scanner.hpp"
#include "engine/work_cursor.hpp"
#include "memory/page_source.hpp"
#include "transport/handshake.hpp"
#include "transport/pacer.hpp"

namespace migrate::engine {

class SendSession {
  public:
    // `source` and `events` outlive the session. Fails if this host cannot do what the
    // configuration asks.
    static Result<std::unique_ptr<SendSession>> create(SendConfig config,
                                                       const memory::PageSource& source,
                                                       EventLog& events);
    ~SendSession();

    // The whole migration, on the calling thread, which plays QEMU's `live_migration`. Once.
    Status run();
    // Ends run() with kCancelled; the peer is told the reason. Any thread.
    void cancel(const std::string& reason);

    // The figures as they stand. Any thread.
    Report report() const;
    ThreadTimes& thread_times() { return times_; }

  private:
    SendSession(SendConfig config, const memory::PageSource& source, EventLog& events);
    Status migrate();
    Status negotiate();
    Status connect_channels();
    Status make_scanners();
    void start_workers();
    Status run_round(std::uint32_t round);
    Status feed_legacy();
    Status work(SendChannel& channel, SpanScanner* scanner);
    Status send_pulled(SendChannel& channel, SpanScanner& scanner, std::uint32_t round);
    Status send_handed_over(SendChannel& channel, std::uint32_t round);
    Status complete();
    void stop_workers();
    void conclude(const Status& status);
    transport::PageCounts sent_pages() const;
    void set_status(MigrationStatus status);

    SendConfig config_;
    const memory::PageSource& source_;
    EventLog& events_;
    Cancellation cancellation_;
    ThreadTimes times_;
    StatusCell status_;
    transport::Pacer pacer_;
    RoundGate gate_;
    std::string kernel_name_;
    std::vector<std::unique_ptr<SpanScanner>>
        scanners_;  // one a channel; in legacy mode only the first
    std::unique_ptr<LegacyFeed> legacy_feed_;
    std::unique_ptr<WorkCursor> cursor_;  // of the round under way
    PageCounters classified_;

    mutable std::mutex mutex_;  // guards what follows, against report()
    std::unique_ptr<PeerLink> link_;
    std::vector<std::unique_ptr<SendChannel>> channels_;
    transport::Accept accepted_;
    std::vector<std::string> digests_;
    std::chrono::steady_clock::time_point started_{};
    std::chrono::steady_clock::time_point active_{};
    std::chrono::steady_clock::time_point ended_{};
    std::string error_desc_;

    std::vector<std::unique_ptr<SessionThread>> workers_;
};

}  // namespace migrate::engine
